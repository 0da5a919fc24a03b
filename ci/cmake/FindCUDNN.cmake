# Finds cuDNN 9: in a Python package, in the project's own build/deps/cudnn (ci/setup --with-cudnn), or in the system.
# Defines CUDNN::CUDNN, which links it, and CUDNN_VERSION. NORMPROOF_CUDNN (cache or environment) says where to look
# first: the folder that holds include/ and lib/. Its header wants those of the CUDA runtime: of a toolkit, or of the
# PyPI packages of the same name; nothing of CUDA is linked.
set(NORMPROOF_CUDNN "$ENV{NORMPROOF_CUDNN}" CACHE PATH "Folder with include/ and lib/ of cuDNN")

set(_cudnn_own "${PROJECT_SOURCE_DIR}/build/deps/cudnn/nvidia")
# Looked for afresh each time: a folder that was removed or replaced must not live on in the cache.
foreach(_variable CUDNN_INCLUDE_DIR CUDNN_LIBRARY CUDNN_CUDA_INCLUDE_DIR)
  unset(${_variable} CACHE)
endforeach()
if(NORMPROOF_CUDNN)
  set(_cudnn_hints "${NORMPROOF_CUDNN}" NO_DEFAULT_PATH) # the user said where: nothing else will do
else()
  set(_cudnn_hints "${_cudnn_own}/cudnn")
endif()
find_path(CUDNN_INCLUDE_DIR cudnn.h PATH_SUFFIXES include HINTS ${_cudnn_hints})
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 PATH_SUFFIXES lib lib64 HINTS ${_cudnn_hints})
find_program(_cudnn_nvcc nvcc NO_CACHE)
get_filename_component(_cudnn_toolkit "${_cudnn_nvcc}" REALPATH)
get_filename_component(_cudnn_toolkit "${_cudnn_toolkit}/../.." ABSOLUTE)
find_path(
  CUDNN_CUDA_INCLUDE_DIR cuda_runtime_api.h
  HINTS "$ENV{CUDA_HOME}" "$ENV{CUDA_PATH}" "${_cudnn_toolkit}" /usr/local/cuda "${NORMPROOF_CUDNN}/../cu13"
        "${NORMPROOF_CUDNN}/../cuda_runtime" "${_cudnn_own}/cu13"
  PATH_SUFFIXES include)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY CUDNN_CUDA_INCLUDE_DIR)

unset(CUDNN_VERSION)
if(EXISTS "${CUDNN_INCLUDE_DIR}/cudnn_version.h")
  file(READ "${CUDNN_INCLUDE_DIR}/cudnn_version.h" _text)
  if(_text MATCHES "CUDNN_MAJOR ([0-9]+).*CUDNN_MINOR ([0-9]+).*CUDNN_PATCHLEVEL ([0-9]+)")
    set(CUDNN_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  CUDNN
  REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR CUDNN_CUDA_INCLUDE_DIR
  VERSION_VAR CUDNN_VERSION)

if(CUDNN_FOUND AND NOT TARGET CUDNN::CUDNN)
  add_library(CUDNN::CUDNN UNKNOWN IMPORTED)
  set_target_properties(
    CUDNN::CUDNN PROPERTIES IMPORTED_LOCATION "${CUDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                 "${CUDNN_INCLUDE_DIR};${CUDNN_CUDA_INCLUDE_DIR}")
endif()
