# What normproof builds on. `ci/setup` installs all of it on Debian 12 and Ubuntu 24.04; the minima are what was tested.
# Imported headers are system headers to the compiler: our warnings are for our code.
include_guard(GLOBAL)

find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED) # headers only: Multiprecision, Math
find_package(MPFR 4.1 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(rapidcheck CONFIG REQUIRED) # recipes are generated and shrunk with it outside the tests too
if(NORMPROOF_TESTS)
  find_package(GTest 1.12 REQUIRED)
  find_package(benchmark 1.7 REQUIRED)
else()
  find_package(GTest 1.12 QUIET) # where it is there, normproof::suite is built
endif()

# LibTorch is the one optional dependency: NORMPROOF_HAS_LIBTORCH tells the folders, which link LibTorch::LibTorch.
set(NORMPROOF_HAS_LIBTORCH OFF)
if(NOT NORMPROOF_WITH_LIBTORCH MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "NORMPROOF_WITH_LIBTORCH is '${NORMPROOF_WITH_LIBTORCH}'; it may be AUTO, ON or OFF")
endif()
if(NORMPROOF_WITH_LIBTORCH STREQUAL "OFF")
  message(STATUS "LibTorch: left out (NORMPROOF_WITH_LIBTORCH=OFF), its kernels will be skipped")
else()
  find_package(LibTorch 2.11 QUIET)
  if(LibTorch_FOUND)
    set(NORMPROOF_HAS_LIBTORCH ON)
    message(STATUS "LibTorch: ${LibTorch_VERSION}, ${LibTorch_LIBRARY}")
  elseif(LibTorch_VERSION AND LibTorch_VERSION VERSION_LESS 2.11)
    set(_reason "${LibTorch_VERSION} in ${LibTorch_INCLUDE_DIR} is older than 2.11")
  elseif(NORMPROOF_LIBTORCH)
    set(_reason "not found in NORMPROOF_LIBTORCH=${NORMPROOF_LIBTORCH}")
  else()
    set(_reason "not found")
  endif()
  if(NOT LibTorch_FOUND AND NORMPROOF_WITH_LIBTORCH STREQUAL "ON")
    message(FATAL_ERROR "LibTorch: ${_reason}; run ci/setup, or set NORMPROOF_LIBTORCH to the folder with include/ and lib/")
  elseif(NOT LibTorch_FOUND)
    message(STATUS "LibTorch: ${_reason}; its kernels will be skipped (ci/setup installs it)")
  endif()
endif()
