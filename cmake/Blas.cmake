# One BLAS, and one pool of threads, in the process: OpenBLAS's OpenMP build. Debian keeps several
# builds side by side behind libblas.so.3; linking this one by its path, with that folder in the
# run path, makes it the first loaded. LAPACKE's own libblas.so.3 and liblapack.so.3 are then thin
# layers over the same libopenblas.so.0.
find_library(NOKEN_OPENBLAS openblas
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_library(NOKEN_OPENBLAS openblas REQUIRED)
find_library(NOKEN_LAPACKE lapacke REQUIRED)
find_path(NOKEN_CBLAS_INCLUDE cblas.h
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_path(NOKEN_CBLAS_INCLUDE cblas.h REQUIRED)
find_path(NOKEN_LAPACKE_INCLUDE lapacke.h REQUIRED)

add_library(noken_blas INTERFACE)
target_include_directories(noken_blas SYSTEM INTERFACE
  ${NOKEN_CBLAS_INCLUDE} ${NOKEN_LAPACKE_INCLUDE})
target_link_libraries(noken_blas INTERFACE ${NOKEN_OPENBLAS} ${NOKEN_LAPACKE})
get_filename_component(NOKEN_OPENBLAS_DIR ${NOKEN_OPENBLAS} DIRECTORY)
list(APPEND CMAKE_INSTALL_RPATH ${NOKEN_OPENBLAS_DIR})
list(APPEND CMAKE_BUILD_RPATH ${NOKEN_OPENBLAS_DIR})
