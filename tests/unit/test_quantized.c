/* Quantized blocks as floats, against those of ggml (tests/fixtures/gguf/blocks.tsv, by
 * `ggml fixture`, tests/runners/ggml.c): type, bytes of blocks, bits of the floats, in hexadecimal.
 */
#include "unit.h"

#include "model/dtype.h"
#include "model/gguf.h"
#include "model/quantized.h"
#include "model/rows.h"

enum { MAX_VALUES = 512 };

struct sample {
  enum nk_dtype dtype;
  unsigned char bytes[MAX_VALUES * 2];
  size_t n_bytes, n_values;
  float values[MAX_VALUES];
};

static unsigned hexadecimal(const char *text, int n) {
  unsigned value = 0;
  for (int i = 0; i < n; i++)
    value = value << 4 | (unsigned)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
  return value;
}

/* The next line of the fixture; false at its end. */
static bool read_sample(FILE *file, struct sample *sample) {
  static char line[16384];
  if (fgets(line, sizeof line, file) == NULL) return false;
  const char *name = strtok(line, "\t"), *bytes = strtok(NULL, "\t"),
             *values = strtok(NULL, "\t\n");
  assert_non_null(values);
  sample->dtype = NK_F32;
  while (sample->dtype < NK_OTHER && strcmp(nk_dtype_names[sample->dtype], name) != 0)
    sample->dtype++;
  sample->n_bytes = strlen(bytes) / 2;
  sample->n_values = strlen(values) / 8;
  assert_true(sample->n_values <= MAX_VALUES && sample->n_bytes <= sizeof sample->bytes);
  for (size_t i = 0; i < sample->n_bytes; i++)
    sample->bytes[i] = (unsigned char)hexadecimal(bytes + 2 * i, 2);
  for (size_t i = 0; i < sample->n_values; i++) {
    uint32_t bits = hexadecimal(values + 8 * i, 8);
    memcpy(&sample->values[i], &bits, sizeof bits);
  }
  return true;
}

static void every_type_gives_the_bits_that_ggml_gives(void **state) {
  (void)state;
  struct sample sample;
  float out[MAX_VALUES + 1];
  bool seen[NK_N_DTYPES] = {false};
  FILE *file = fopen("tests/fixtures/gguf/blocks.tsv", "r");
  assert_non_null(file);
  while (read_sample(file, &sample)) {
    struct nki_block_size size = nki_block_size(sample.dtype);
    assert_true(nki_is_quantized(sample.dtype));
    assert_int_equal(sample.n_bytes, 2 * size.bytes);
    assert_int_equal(sample.n_values, 2 * size.elements);
    out[sample.n_values] = 99;
    assert_int_equal(nki_widen(sample.dtype, sample.bytes, sample.n_values, out), NK_OK);
    for (size_t i = 0; i < sample.n_values; i++)
      if (memcmp(&out[i], &sample.values[i], sizeof out[i]) != 0)
        fail_msg("%s [%zu]: %a instead of %a", nk_dtype_names[sample.dtype], i, (double)out[i],
                 (double)sample.values[i]);
    assert_true(out[sample.n_values] == 99);
    seen[sample.dtype] = true;
  }
  fclose(file);
  for (int type = NK_Q4_0; type < NK_OTHER; type++) assert_true(seen[type]);
}

/* The copies lie at odd addresses: a file's blocks have no alignment. */
static void any_range_of_a_tensor_is_widened(void **state) {
  (void)state;
  struct sample sample;
  unsigned char moved[sizeof sample.bytes + 1];
  float out[MAX_VALUES + 1];
  FILE *file = fopen("tests/fixtures/gguf/blocks.tsv", "r");
  assert_non_null(file);
  while (read_sample(file, &sample)) {
    memcpy(moved + 1, sample.bytes, sample.n_bytes);
    struct nk_tensor tensor = {.name = "t",
                               .dtype = sample.dtype,
                               .n_dims = 1,
                               .shape = {sample.n_values},
                               .n_elements = sample.n_values,
                               .n_bytes = sample.n_bytes,
                               .data = moved + 1};
    for (size_t first = 0; first < sample.n_values; first += 7)
      for (size_t n = 0; n <= sample.n_values - first; n += 5) {
        out[n] = 99;
        assert_int_equal(nki_tensor_widen(&tensor, first, n, out), NK_OK);
        assert_memory_equal(out, sample.values + first, n * sizeof *out);
        assert_true(out[n] == 99);
      }
  }
  fclose(file);
}

/* The 16 values of E2M1 by the OCP's definition (Microscaling Formats, revision 1.0): sign, two
 * bits of exponent with a bias of 1, one of mantissa; the block's scale is 2^(e - 127). */
static void mxfp4_is_what_its_specification_says(void **state) {
  (void)state;
  unsigned char block[17] = {130};
  float out[32];
  for (unsigned code = 0; code < 16; code++) block[1 + code] = (unsigned char)code;
  nki_blocks_widen(NK_MXFP4, block, 32, out);
  for (unsigned code = 0; code < 16; code++) {
    int exponent = (int)(code >> 1 & 3), mantissa = (int)(code & 1);
    float magnitude = exponent == 0 ? (float)mantissa / 2
                                    : (float)(1 << (exponent - 1)) * (1 + (float)mantissa / 2);
    assert_true(out[code] == 8 * (code & 8 ? -magnitude : magnitude));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_type_gives_the_bits_that_ggml_gives),
      cmocka_unit_test(any_range_of_a_tensor_is_widened),
      cmocka_unit_test(mxfp4_is_what_its_specification_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
