# What normproof builds on. `ci/setup` installs all of it on Debian 12 and Ubuntu 24.04.
include_guard(GLOBAL)

find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED) # headers only: Multiprecision, Math
find_package(MPFR 4.1 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
if(NORMPROOF_TESTS)
  find_package(GTest 1.12 REQUIRED)
  find_package(benchmark 1.7 REQUIRED)
endif()
find_package(rapidcheck CONFIG REQUIRED)

# LibTorch is the one optional dependency. Its location comes from Torch_DIR, CMAKE_PREFIX_PATH or the set-up's
# project-local environment. NORMPROOF_HAS_LIBTORCH tells the folders; they link normproof_torch.
set(NORMPROOF_HAS_LIBTORCH OFF)
if(NOT NORMPROOF_WITH_LIBTORCH STREQUAL "OFF")
  file(GLOB _wheel_torch "${PROJECT_SOURCE_DIR}/build/deps/venv/lib/python3*/site-packages/torch/share/cmake/Torch")
  find_package(Torch 2.11 QUIET HINTS ${_wheel_torch})
  if(Torch_FOUND)
    set(NORMPROOF_HAS_LIBTORCH ON)
    message(STATUS "LibTorch ${Torch_VERSION}: ${Torch_DIR}")
  elseif(NORMPROOF_WITH_LIBTORCH STREQUAL "ON")
    message(FATAL_ERROR "NORMPROOF_WITH_LIBTORCH=ON, but no LibTorch >= 2.11 was found: set Torch_DIR or run ci/setup")
  else()
    message(STATUS "LibTorch: not found, its kernels will be skipped (run ci/setup, or set Torch_DIR)")
  endif()
endif()
