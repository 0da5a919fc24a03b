# Finds the C++ half of PyTorch: in a Python package, in an unpacked LibTorch, in the project-local environment that
# ci/setup makes. Defines LibTorch::LibTorch and LibTorch_VERSION; NORMPROOF_LIBTORCH (cache or environment) says where
# to look first: the folder that holds include/ and lib/.
#
# Why not the TorchConfig.cmake that comes along: on a CUDA build it stops the whole configuration where there is no
# CUDA toolkit, though only the libraries are needed here (kernels come in through the public operators). libtorch.so
# pulls in the CUDA half by itself where there is one.
set(NORMPROOF_LIBTORCH "$ENV{NORMPROOF_LIBTORCH}" CACHE PATH "Folder with include/ and lib/ of LibTorch")

file(GLOB _libtorch_hints "${PROJECT_SOURCE_DIR}/build/deps/venv/lib/python3*/site-packages/torch")
if(NORMPROOF_LIBTORCH)
  set(_libtorch_hints "${NORMPROOF_LIBTORCH}")
  set(_libtorch_only NO_DEFAULT_PATH) # the user said where: nothing else will do
else()
  unset(_libtorch_only)
endif()

# Looked for afresh each time: an environment that was removed or replaced must not live on in the cache.
foreach(_variable LibTorch_INCLUDE_DIR LibTorch_LIBRARY LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
  unset(${_variable} CACHE)
endforeach()
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS ${_libtorch_hints} PATH_SUFFIXES include ${_libtorch_only})
find_library(LibTorch_LIBRARY torch HINTS ${_libtorch_hints} PATH_SUFFIXES lib ${_libtorch_only})
find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS ${_libtorch_hints} PATH_SUFFIXES lib ${_libtorch_only})
find_library(LibTorch_C10_LIBRARY c10 HINTS ${_libtorch_hints} PATH_SUFFIXES lib ${_libtorch_only})
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_LIBRARY LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)

unset(LibTorch_VERSION)
foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT LibTorch_VERSION AND LibTorch_INCLUDE_DIR AND EXISTS "${LibTorch_INCLUDE_DIR}/${_header}")
    file(READ "${LibTorch_INCLUDE_DIR}/${_header}" _text)
    if(_text MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(LibTorch_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_LIBRARY LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION)

if(LibTorch_FOUND)
  get_filename_component(LibTorch_PREFIX "${LibTorch_INCLUDE_DIR}" DIRECTORY) # the installed package remembers it
endif()
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(
    LibTorch::LibTorch SYSTEM INTERFACE "${LibTorch_INCLUDE_DIR}"
                                        "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  # libtorch.so holds no symbol of its own; it is linked for what it loads (the CUDA operators register themselves).
  target_link_libraries(
    LibTorch::LibTorch INTERFACE "${LibTorch_CPU_LIBRARY}" "${LibTorch_C10_LIBRARY}" -Wl,--push-state,--no-as-needed
                                 "${LibTorch_LIBRARY}" -Wl,--pop-state -Wl,--allow-shlib-undefined)
  target_compile_features(LibTorch::LibTorch INTERFACE cxx_std_20)
endif()
