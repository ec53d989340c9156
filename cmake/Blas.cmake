# One BLAS and one pool of threads in the process: OpenBLAS's OpenMP build. Debian installs several
# BLAS builds side by side; the system's choice of one is behind libblas.so.3, liblapack.so.3 and
# libopenblas.so.0. OpenBLAS is linked from its own folder instead, which is also in the run path.
# LAPACKE is linked as a static library: the shared one needs libblas.so.3 and liblapack.so.3, which
# would load the system's choice as a second BLAS.
find_library(NOKEN_OPENBLAS openblas
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_library(NOKEN_OPENBLAS openblas REQUIRED)
find_library(NOKEN_LAPACKE NAMES liblapacke.a lapacke REQUIRED)
find_path(NOKEN_CBLAS_INCLUDE cblas.h
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_path(NOKEN_CBLAS_INCLUDE cblas.h REQUIRED)
find_path(NOKEN_LAPACKE_INCLUDE lapacke.h REQUIRED)

# Imported targets: CMake derives the order on the link line from their dependencies.
add_library(noken_openblas UNKNOWN IMPORTED)
set_target_properties(noken_openblas PROPERTIES IMPORTED_LOCATION ${NOKEN_OPENBLAS})
add_library(noken_lapacke UNKNOWN IMPORTED)
set_target_properties(noken_lapacke PROPERTIES IMPORTED_LOCATION ${NOKEN_LAPACKE})
target_link_libraries(noken_lapacke INTERFACE noken_openblas)

add_library(noken_blas INTERFACE)
target_include_directories(noken_blas SYSTEM INTERFACE
  ${NOKEN_CBLAS_INCLUDE} ${NOKEN_LAPACKE_INCLUDE})
target_link_libraries(noken_blas INTERFACE noken_lapacke noken_openblas)
get_filename_component(NOKEN_OPENBLAS_DIR ${NOKEN_OPENBLAS} DIRECTORY)
list(APPEND CMAKE_INSTALL_RPATH ${NOKEN_OPENBLAS_DIR})
list(APPEND CMAKE_BUILD_RPATH ${NOKEN_OPENBLAS_DIR})
