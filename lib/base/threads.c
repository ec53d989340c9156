/* OpenMP's pool is the only one: OpenBLAS's OpenMP build and FAISS draw from it as well. */
#include <noken/base.h>
#include <omp.h>

void nk_set_threads(size_t n) {
  if (n > 4096) n = 4096;
  omp_set_num_threads(n ? (int)n : omp_get_num_procs());
}

size_t nk_threads(void) {
  return (size_t)omp_get_max_threads();
}
