# `cmake --install`: the program, the kernel libraries, the headers and a package, so that another project writes
# find_package(normproof) and links normproof::properties; or, with COMPONENTS, normproof::kernel (headers in C, which
# `cmake --install --component kernel` installs alone) and normproof::suite.
include_guard(GLOBAL)
include(CMakePackageConfigHelpers)

set(_package "${CMAKE_INSTALL_LIBDIR}/cmake/normproof")
get_property(_exported GLOBAL PROPERTY NORMPROOF_EXPORTED)
if(NOT _exported)
  return() # no library yet, nothing to export
endif()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/ci/cmake/normproofConfig.cmake.in" "${PROJECT_BINARY_DIR}/normproofConfig.cmake"
  INSTALL_DESTINATION "${_package}"
  PATH_VARS CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/normproofConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(
  EXPORT normproofTargets
  NAMESPACE normproof::
  DESTINATION "${_package}")
get_property(_components GLOBAL PROPERTY NORMPROOF_COMPONENTS)
foreach(_component ${_components})
  install(
    EXPORT normproof_${_component}_targets
    NAMESPACE normproof::
    DESTINATION "${_package}"
    COMPONENT ${_component})
endforeach()
install(FILES "${PROJECT_BINARY_DIR}/normproofConfig.cmake" "${PROJECT_BINARY_DIR}/normproofConfigVersion.cmake"
        DESTINATION "${_package}" COMPONENT kernel)
install(FILES "${PROJECT_SOURCE_DIR}/ci/cmake/FindMPFR.cmake" "${PROJECT_SOURCE_DIR}/ci/cmake/FindLibTorch.cmake"
        DESTINATION "${_package}")
