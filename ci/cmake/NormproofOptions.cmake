# What the user may set, and what every preset shares: where outputs go, ccache, sanitizers, coverage.
include_guard(GLOBAL)

set(NORMPROOF_WITH_LIBTORCH AUTO CACHE STRING "Build the LibTorch kernels: AUTO (when Torch is found), ON (or fail), OFF")
set_property(CACHE NORMPROOF_WITH_LIBTORCH PROPERTY STRINGS AUTO ON OFF)
set(NORMPROOF_WITH_CUDA AUTO CACHE STRING "Build the kernels for CUDA devices: AUTO (when a toolkit is found), ON (or fail), OFF")
set_property(CACHE NORMPROOF_WITH_CUDA PROPERTY STRINGS AUTO ON OFF)
option(NORMPROOF_WITH_ONEDNN "Build the adapter of oneDNN" OFF)
option(NORMPROOF_WITH_CUDNN "Build the adapter of cuDNN" OFF)
option(NORMPROOF_WITH_MPFR "The oracle computes with MPFR; OFF: with Boost's own numbers, same truths, several times slower" ON)
option(NORMPROOF_WERROR "Warnings in normproof's own code are errors" OFF)
option(NORMPROOF_SANITIZE "Instrument with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(NORMPROOF_FUZZ "Build the fuzz targets with libFuzzer, everything instrumented for it (clang)" OFF)
option(NORMPROOF_COVERAGE "Instrument for gcov" OFF)
option(NORMPROOF_TESTS "Build the tests and benchmarks" ${PROJECT_IS_TOP_LEVEL})

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

# A verdict must not depend on a macro: no NDEBUG anywhere, so an assertion guards every build.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g")
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O1 -g")

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON) # an installed program still finds the LibTorch it was linked with

find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()
