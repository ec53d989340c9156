/* OpenMP's pool of threads is the only one: OpenBLAS's OpenMP build and FAISS use it as well. Its
 * size belongs to the thread that opens a parallel region, in OpenMP and so here. */
#include <noken/base.h>
#include <omp.h>

enum { MOST_THREADS = 4096 };

/* What OMP_NUM_THREADS says, or the cores of this process. Only read: by omp_get_max_threads when
 * the library is loaded, as OpenMP has no call for it once omp_set_num_threads was used. */
static int usual;

__attribute__((constructor)) static void find_usual(void) {
  usual = omp_get_max_threads();
}

void nk_set_threads(size_t n) {
  omp_set_num_threads(n == 0 ? usual : n < MOST_THREADS ? (int)n : MOST_THREADS);
}

size_t nk_threads(void) {
  return (size_t)omp_get_max_threads();
}
