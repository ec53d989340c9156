/* FAISS through its C API, as the build provides it. */
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <noken/noken.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

/* The corners of the unit square and a point far away. */
static const float points[5][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}, {30, 40}};

static void an_exact_index_finds_the_nearest_rows_in_order(void **state) {
  (void)state;
  FaissIndex *index = NULL;
  assert_int_equal(faiss_index_factory(&index, 2, "Flat", METRIC_L2), 0);
  assert_true(faiss_Index_is_trained(index));
  assert_int_equal(faiss_Index_add(index, 5, &points[0][0]), 0);
  assert_int_equal(faiss_Index_ntotal(index), 5);

  const float queries[2][2] = {{0.1F, 0.2F}, {30, 44}};
  float distances[2][3];
  idx_t labels[2][3];
  assert_int_equal(faiss_Index_search(index, 2, &queries[0][0], 3, &distances[0][0], &labels[0][0]),
                   0);

  const idx_t expected_labels[2][3] = {{0, 2, 1}, {4, 3, 2}};
  /* squared: 0.01 + 0.04, 0.01 + 0.64, 0.81 + 0.04; 16, 29^2 + 43^2, 30^2 + 43^2 */
  const float expected_distances[2][3] = {{0.05F, 0.65F, 0.85F}, {16, 2690, 2749}};
  for (size_t q = 0; q < 2; q++) {
    for (size_t k = 0; k < 3; k++) {
      assert_int_equal(labels[q][k], expected_labels[q][k]);
      assert_float_equal(distances[q][k], expected_distances[q][k], 1e-5);
    }
  }
  faiss_Index_free(index);
}

static void a_trained_index_searched_in_all_its_lists_is_exact(void **state) {
  (void)state;
  enum { SIDE = 20, N = SIDE * SIDE };
  static float grid[N][2];
  for (size_t i = 0; i < N; i++) {
    grid[i][0] = (float)(i % SIDE);
    grid[i][1] = 1.5F * (float)(i / SIDE);
  }
  FaissIndex *index = NULL;
  assert_int_equal(faiss_index_factory(&index, 2, "IVF4,Flat", METRIC_L2), 0);
  assert_int_equal(faiss_Index_train(index, N, &grid[0][0]), 0);
  assert_int_equal(faiss_Index_add(index, N, &grid[0][0]), 0);

  FaissParameterSpace *space = NULL;
  assert_int_equal(faiss_ParameterSpace_new(&space), 0);
  assert_int_equal(faiss_ParameterSpace_set_index_parameter(space, index, "nprobe", 4), 0);

  const float query[2] = {7.2F, 6.1F}; /* nearest: (7, 6), which is row 4 * SIDE + 7 */
  float distance = -1;
  idx_t label = -1;
  assert_int_equal(faiss_Index_search(index, 1, query, 1, &distance, &label), 0);
  assert_int_equal(label, 4 * SIDE + 7);
  assert_float_equal(distance, 0.05, 1e-4);
  faiss_ParameterSpace_free(space);
  faiss_Index_free(index);
}

static void a_fault_comes_back_as_a_code_and_a_message(void **state) {
  (void)state;
  FaissIndex *index = NULL;
  assert_int_not_equal(faiss_index_factory(&index, 2, "no such index", METRIC_L2), 0);
  assert_non_null(faiss_get_last_error());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_exact_index_finds_the_nearest_rows_in_order),
      cmocka_unit_test(a_trained_index_searched_in_all_its_lists_is_exact),
      cmocka_unit_test(a_fault_comes_back_as_a_code_and_a_message),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
