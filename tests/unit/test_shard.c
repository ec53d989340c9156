/* Parts of scans. */
#include "unit.h"

#include "cli/shard.h"

static void parts_follow_one_another_and_cover_all_blocks(void **state) {
  (void)state;
  static const size_t numbers[] = {0, 1, 2, 7, 100, 4899};
  for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
    for (size_t n = 1; n <= 130; n++) {
      size_t end = 0, least = SIZE_MAX, most = 0;
      for (size_t i = 1; i <= n; i++) {
        size_t range[2];
        cli_shard_range(&(struct cli_shard){i, n}, numbers[k], range);
        assert_int_equal(range[0], end);
        assert_int_equal(range[1], numbers[k] * i / n);
        end = range[1];
        least = range[1] - range[0] < least ? range[1] - range[0] : least;
        most = range[1] - range[0] > most ? range[1] - range[0] : most;
      }
      assert_int_equal(end, numbers[k]);
      assert_true(most - least <= 1);
    }
}

static void a_zeroed_shard_is_the_whole_and_large_numbers_do_not_overflow(void **state) {
  (void)state;
  size_t range[2];
  cli_shard_range(&(struct cli_shard){0}, 9, range);
  assert_int_equal(range[0], 0);
  assert_int_equal(range[1], 9);
  assert_true(cli_shard_is_first(&(struct cli_shard){0}));
  cli_shard_range(&(struct cli_shard){CLI_MOST, CLI_MOST}, SIZE_MAX, range);
  assert_int_equal(range[1], SIZE_MAX);
  assert_int_equal(range[0], SIZE_MAX - ((size_t)1 << 40)); /* less a 2^-24th, rounded up */
}

static void items_of_parts_are_whole_blocks_of_each_scan(void **state) {
  (void)state;
  enum { SCANS = 3, ITEMS = 10, SIZE = 4 }; /* blocks of 4, 4 and 2 */
  static const size_t starts[] = {0, 4, 8, 10, 14, 18, 20, 24, 28, 30};
  assert_int_equal(cli_count_blocks(SCANS, ITEMS, SIZE), 9);
  for (size_t i = 0; i < 9; i++) {
    const struct cli_block block = cli_block_at(i, ITEMS, SIZE);
    size_t range[2];
    assert_int_equal(block.scan * ITEMS + block.first, starts[i]);
    assert_int_equal(block.n, starts[i + 1] - starts[i]);
    cli_shard_items(&(struct cli_shard){i + 1, 9}, SCANS, ITEMS, SIZE, range);
    assert_int_equal(range[0], starts[i]);
    assert_int_equal(range[1], starts[i + 1]);
  }
  size_t range[2] = {1, 1};
  cli_shard_items(&(struct cli_shard){1, 2}, SCANS, 0, SIZE, range);
  assert_int_equal(range[0], 0);
  assert_int_equal(range[1], 0);
}

static void a_slice_has_the_tokens_and_then_the_vectors_of_its_range(void **state) {
  (void)state;
  static const int64_t tokens[] = {10, 11, 12};
  static float values[2 * 2] = {1, 2, 3, 4};
  const struct nk_vectors set = {.n = 2, .dim = 2, .values = values};
  const struct nk_items all = {.tokens = tokens, .n_tokens = 3, .vectors = &set};
  for (size_t first = 0; first < 5; first++)
    for (size_t n = 1; n <= 5 - first; n++) {
      struct nk_vectors vectors;
      const struct nk_items slice = cli_slice_items(&all, first, n, &vectors);
      size_t n_vectors = slice.vectors == NULL ? 0 : slice.vectors->n;
      assert_int_equal(slice.n_tokens + n_vectors, n);
      for (size_t i = 0; i < n; i++) {
        if (first + i < 3)
          assert_int_equal(slice.tokens[i], 10 + first + i);
        else
          assert_true(slice.vectors->values[(i - slice.n_tokens) * 2] ==
                      (float)(1 + 2 * (first + i - 3)));
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_follow_one_another_and_cover_all_blocks),
      cmocka_unit_test(a_zeroed_shard_is_the_whole_and_large_numbers_do_not_overflow),
      cmocka_unit_test(items_of_parts_are_whole_blocks_of_each_scan),
      cmocka_unit_test(a_slice_has_the_tokens_and_then_the_vectors_of_its_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
