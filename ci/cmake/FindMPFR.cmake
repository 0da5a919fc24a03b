# Finds MPFR and the GMP under it; neither ships a CMake package. Defines the target MPFR::MPFR, which links both, and
# MPFR_VERSION. MPFR_ROOT and GMP_ROOT point at installations in unusual places.
find_path(MPFR_INCLUDE_DIR mpfr.h)
find_path(GMP_INCLUDE_DIR gmp.h PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE})
find_library(MPFR_LIBRARY mpfr)
find_library(GMP_LIBRARY gmp)
mark_as_advanced(MPFR_INCLUDE_DIR MPFR_LIBRARY GMP_INCLUDE_DIR GMP_LIBRARY)

if(MPFR_INCLUDE_DIR)
  file(STRINGS "${MPFR_INCLUDE_DIR}/mpfr.h" _mpfr_line REGEX "define MPFR_VERSION_STRING")
  string(REGEX MATCH "[0-9]+(\\.[0-9]+)+" MPFR_VERSION "${_mpfr_line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  MPFR
  REQUIRED_VARS MPFR_LIBRARY GMP_LIBRARY MPFR_INCLUDE_DIR GMP_INCLUDE_DIR
  VERSION_VAR MPFR_VERSION)

if(MPFR_FOUND AND NOT TARGET MPFR::MPFR)
  add_library(MPFR::GMP UNKNOWN IMPORTED)
  set_target_properties(MPFR::GMP PROPERTIES IMPORTED_LOCATION "${GMP_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                               "${GMP_INCLUDE_DIR}")
  add_library(MPFR::MPFR UNKNOWN IMPORTED)
  set_target_properties(
    MPFR::MPFR
    PROPERTIES IMPORTED_LOCATION "${MPFR_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${MPFR_INCLUDE_DIR}"
               INTERFACE_LINK_LIBRARIES MPFR::GMP)
endif()
