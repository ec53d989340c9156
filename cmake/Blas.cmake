# One BLAS, and one pool of threads, in the process: OpenBLAS's OpenMP build. Debian keeps several
# BLAS builds side by side and lets the system choose one for libblas.so.3, liblapack.so.3 and
# libopenblas.so.0. This one is linked from its own folder, which is also in the run path. LAPACKE
# is taken in as the static library: the shared one asks for libblas.so.3 and liblapack.so.3, to
# which this run path does not apply, so the system's choice would come in beside it.
find_library(NOKEN_OPENBLAS openblas
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_library(NOKEN_OPENBLAS openblas REQUIRED)
find_library(NOKEN_LAPACKE NAMES liblapacke.a lapacke REQUIRED)
find_path(NOKEN_CBLAS_INCLUDE cblas.h
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_path(NOKEN_CBLAS_INCLUDE cblas.h REQUIRED)
find_path(NOKEN_LAPACKE_INCLUDE lapacke.h REQUIRED)

# Imported targets tell CMake what depends on what, and so the order on the link line.
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
