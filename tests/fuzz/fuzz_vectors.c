/* Vector sets, from safetensors and .npy: read, listed as a table, selected from, written. */
#include <noken/noken.h>
#include <string.h>

#include "cli/frame.h"
#include "cli/options.h"
#include "cli/sets.h"
#include "fuzz.h"
#include "io/vectors.h"

const char *const fuzz_words[] = {"\"vectors\":{",
                                  "\"id\":{",
                                  "\"text.bytes\":{",
                                  "\"text.offsets\":{",
                                  "\"dtype\":\"F16\"",
                                  "\"dtype\":\"I64\"",
                                  "\"hidden_states\":{",
                                  "\"token_ids\":{",
                                  "\"attention_mask\":{",
                                  "\"shape\":[2,3,2]",
                                  "\"shape\":[0,4]",
                                  "\"shape\":[4,0]",
                                  "\"shape\":[3]",
                                  "\"noken.history\":\"[1]\"",
                                  "\"noken.history\":\"[\"",
                                  "\"noken.version\":\"2\"",
                                  "\x93NUMPY\x01",
                                  "\x93NUMPY\x03",
                                  "'fortran_order': True",
                                  "'descr': '<f8'",
                                  "'descr': '|O'",
                                  "'shape': (0, 3)",
                                  "'shape': (3,)",
                                  "PK\x01\x02",
                                  "PK\x05\x06",
                                  "v1,v2\n",
                                  ",;\t",
                                  "1e39",
                                  "\"\"",
                                  NULL};

static void make_table(const struct nk_vectors *set, struct nk_output *output) {
  struct cli_table *table = cli_table_new(output, CLI_TABLE_JSON);
  cli_set_head(set, table);
  cli_table_column(table, "norm");
  cli_set_head_tail(set, table);
  int code = NK_OK;
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    cli_set_row(set, row, table);
    cli_table_missing(table);
    cli_set_row_tail(set, row, table);
    code = cli_table_end_row(table);
  }
  (void)cli_table_finish(table);
}

/* The same bytes as hidden states that another program saved. */
static void read_states(const char *path, struct nk_output *output) {
  for (int format = NK_STATES_SAFETENSORS; format <= NK_STATES_NPZ; format++) {
    const struct nk_states_options options = {.format = (enum nk_states_format)format};
    struct nk_vectors *set = nk_states_begin(&path, 1, &options);
    if (set != NULL) (void)nk_vectors_write(set, output);
    nk_vectors_free(set);
  }
}

static void read_all(const void *data, size_t size) {
  static char argument0[] = "nk-fuzz", argument1[] = "a=b";
  static char *const argv[] = {argument0, argument1, NULL};
  static const struct cli_tool tool = {.name = "nk-fuzz"};
  const char *path = fuzz_file(0, data, size);
  struct nk_output *output = nk_output_open("/dev/null", NK_OUTPUT_BINARY);
  fuzz_memory_begin(size);
  struct nk_vectors *set = nk_vectors_read(path);
  if (set != NULL) {
    fuzz_use(set->values, set->n * set->dim * sizeof *set->values);
    for (size_t row = 0; row < set->n; row++) {
      size_t n = 0;
      const char *text = nk_vectors_text(set, row, &n);
      fuzz_use(text, n);
    }
    (void)cli_add_history(set, &tool, 2, argv);
    make_table(set, output);
    (void)nk_vectors_write(set, output);
    size_t rows[2] = {set->n / 2, 0};
    struct nk_vectors *some = nki_vectors_select(set, rows, set->n > 0 ? 2 : 0);
    if (some != NULL) (void)nk_vectors_write(some, output);
    nk_vectors_free(some);
    (void)nk_vectors_check_finite(&set, true);
  }
  nk_vectors_free(set);
  read_states(path, output);
  fuzz_memory_end();
  nk_output_free(output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  read_all(data, size);
  static uint8_t again[1 << 17];
  if (size < 10 || size > sizeof again) return 0;
  memcpy(again, data, size);
  if (memcmp(again, "\x93NUMPY", 6) == 0) { /* the header's length corrected */
    const uint8_t *newline = memchr(again + 10, '\n', size - 10);
    uint16_t length = (uint16_t)(newline != NULL ? newline - again - 9 : 0);
    memcpy(again + 8, &length, sizeof length);
  } else {
    size_t end = size;
    while (end > 8 && again[end - 1] != '}') end--;
    uint64_t length = end - 8;
    memcpy(again, &length, sizeof length);
  }
  read_all(again, size);
  return 0;
}
