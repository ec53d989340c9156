/* The process has one BLAS, OpenBLAS's OpenMP build, and one OpenMP runtime, whatever the system's
 * default BLAS: two of either would compete for the cores. */
#include <cblas.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <lapacke.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* after those above, which it needs */
#include <cmocka.h>

/* Calls each library that stands on a BLAS, so that the linker cannot leave one out. */
static void call_all(void) {
  const float a[4] = {1, 2, 3, 4};
  float product[4] = {0};
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1, a, 2, a, 2, 0, product, 2);
  assert_float_equal(product[3], 22, 0);

  double symmetric[4] = {2, 1, 1, 2};
  double eigenvalues[2] = {0};
  assert_int_equal(LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'N', 'U', 2, symmetric, 2, eigenvalues), 0);
  assert_float_equal(eigenvalues[0], 1, 1e-12);
  assert_float_equal(eigenvalues[1], 3, 1e-12);

  FaissIndex *index = NULL;
  assert_int_equal(faiss_index_factory(&index, 2, "Flat", METRIC_L2), 0);
  assert_int_equal(faiss_Index_add(index, 2, a), 0);
  faiss_Index_free(index);
}

/* How many different files whose base name begins with one of the prefixes are mapped. */
static size_t count_mapped(const char *const *prefixes) {
  char seen[16][512];
  size_t n = 0;
  char line[1024];
  FILE *maps = fopen("/proc/self/maps", "r");
  assert_non_null(maps);
  while (fgets(line, sizeof line, maps) != NULL) {
    line[strcspn(line, "\n")] = 0;
    const char *path = strchr(line, '/');
    if (path == NULL || strlen(path) >= sizeof seen[0]) continue;
    const char *base = strrchr(path, '/') + 1;
    bool wanted = false;
    for (size_t i = 0; prefixes[i] != NULL; i++) {
      wanted = wanted || strncmp(base, prefixes[i], strlen(prefixes[i])) == 0;
    }
    for (size_t i = 0; i < n; i++) wanted = wanted && strcmp(seen[i], path) != 0;
    if (!wanted) continue;
    assert_true(n < sizeof seen / sizeof seen[0]);
    print_message("mapped: %s\n", path);
    strcpy(seen[n++], path);
  }
  fclose(maps);
  return n;
}

static void openblas_runs_its_threads_by_openmp(void **state) {
  (void)state;
  call_all();
  assert_int_equal(openblas_get_parallel(), OPENBLAS_OPENMP);
}

static void one_blas_is_loaded(void **state) {
  (void)state;
  static const char *const blas[] = {"libopenblas", "libblas", "liblapack.", "libatlas", "libcblas",
                                     "libf77blas",  "libblis", "libmkl",     NULL};
  call_all();
  assert_int_equal(count_mapped(blas), 1);
}

static void one_openmp_runtime_is_loaded(void **state) {
  (void)state;
  static const char *const openmp[] = {"libgomp", "libomp", "libiomp", NULL};
  call_all();
  assert_int_equal(count_mapped(openmp), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(openblas_runs_its_threads_by_openmp),
      cmocka_unit_test(one_blas_is_loaded),
      cmocka_unit_test(one_openmp_runtime_is_loaded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
