/* The base layer: sizes, escaping, numbers as text, random numbers, files. */
#include "unit.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/json.h"
#include "base/random.h"

/* ---- Sizes and errors ---- */

static void sizes_that_overflow_are_reported(void **state) {
  (void)state;
  size_t out = 7;
  assert_true(nk_size_mul(1u << 20, 1u << 20, &out));
  assert_true(out == (size_t)1 << 40);
  assert_false(nk_size_mul(SIZE_MAX / 2 + 1, 2, &out));
  assert_false(nk_size_add(SIZE_MAX, 1, &out));
  assert_true(out == (size_t)1 << 40);
  assert_null(nk_alloc(SIZE_MAX / 2, 4));
  assert_non_null(strstr(nk_error(), "out of memory"));
}

static void the_version_is_that_of_the_header(void **state) {
  (void)state;
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", NK_VERSION_MAJOR, NK_VERSION_MINOR,
           NK_VERSION_PATCH);
  assert_string_equal(nk_version(), version);
}

/* A name from a file may hold a terminal's escape sequences: ESC, a newline, a C1 control, and a
 * byte that is not UTF-8. */
static void messages_are_one_line_of_printable_utf8(void **state) {
  (void)state;
  nk_fail(NK_EDATA, "tensor '%s'", "a\n\x1B[31m\xC2\x9B\xFF\xC3\xA9\\");
  assert_string_equal(nk_error(), "tensor 'a\\n\\x1B[31m\\xC2\\x9B\\xFF\xC3\xA9\\'");
  /* the right-to-left override, which hides the end of a name, and the line separator */
  nk_fail(NK_EDATA, "%s", "a\xE2\x80\xAE\xE2\x80\xA8z");
  assert_string_equal(nk_error(), "a\\xE2\\x80\\xAE\\xE2\\x80\\xA8z");
  nk_fail(NK_EDATA, "tensor '%s'", "a\n\x1B[31m\xC2\x9B\xFF\xC3\xA9\\");
  nk_fail_in(NK_EDATA, "%s", "b\tc");
  assert_string_equal(nk_error(), "b\\tc: tensor 'a\\n\\x1B[31m\\xC2\\x9B\\xFF\xC3\xA9\\'");
}

static void a_failure_keeps_its_context(void **state) {
  (void)state;
  assert_int_equal(nk_fail(NK_EDATA, "row %d holds a NaN", 17), NK_EDATA);
  assert_int_equal(nk_fail_in(NK_EDATA, "wte.npy"), NK_EDATA);
  assert_string_equal(nk_error(), "wte.npy: row 17 holds a NaN");
  assert_int_equal(nk_error_code(), NK_EDATA);
}

/* ---- JSON ---- */

/* What Python 3.13 writes:
 *   json.dumps({"n": int(1e30), "m": [-10**17, -(10**19)], "a": [float("inf"), -float("inf"),
 *               float("nan")], "b": "NaN \\\" Infinity", "c": 1})
 * in the encoding utf-8-sig. */
static void json_as_python_writes_it_is_read(void **state) {
  (void)state;
  static const char text[] =
      "\xEF\xBB\xBF{\"n\": 1000000000000000019884624838656, "
      "\"m\": [-100000000000000000, -10000000000000000000], \"a\": [Infinity, -Infinity, NaN], "
      "\"b\": \"NaN \\\\\\\" Infinity\", \"c\": 1}";
  json_t *json = nki_json_parse("x.json", text, strlen(text), 0);
  assert_non_null(json);
  const json_t *a = json_object_get(json, "a");
  assert_string_equal(json_string_value(json_array_get(a, 0)), "Infinity");
  assert_string_equal(json_string_value(json_array_get(a, 1)), "-Infinity");
  assert_string_equal(json_string_value(json_array_get(a, 2)), "NaN");
  assert_string_equal(json_string_value(json_object_get(json, "b")), "NaN \\\" Infinity");
  assert_int_equal(json_integer_value(json_object_get(json, "c")), 1);
  assert_true(json_real_value(json_object_get(json, "n")) == 1e30);
  const json_t *m = json_object_get(json, "m");
  assert_int_equal(json_integer_value(json_array_get(m, 0)), -100000000000000000);
  assert_true(json_real_value(json_array_get(m, 1)) == -1e19);
  json_decref(json);
}

static void a_json_text_that_ends_early_stays_an_error(void **state) {
  (void)state;
  static const char *const texts[] = {"",  "\xEF\xBB\xBF", "[NaN", "\"NaN\\", "[Infinityx]",
                                      "-", "\xEF\xBB"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    assert_null(nki_json_parse("x.json", texts[i], strlen(texts[i]), 0));
    assert_int_equal(nk_error_code(), NK_EDATA);
    assert_memory_equal(nk_error(), "x.json: line ", 13);
  }
}

/* ---- Escaping ---- */

static void escaped_text_is_one_line_of_utf8_and_comes_back(void **state) {
  (void)state;
  static const struct {
    const char *raw;
    size_t n;
    const char *escaped;
  } cases[] = {
      {" SolidGold", 10, " SolidGold"},
      {"\t\n\r\\", 4, "\\t\\n\\r\\\\"},
      {"\0\x1b\x7f", 3, "\\x00\\x1B\\x7F"},
      {"\xC0\xC1\xF5\xFF", 4, "\\xC0\\xC1\\xF5\\xFF"},
      {"\xE2\x96\x81", 3, "\xE2\x96\x81"},             /* U+2581 */
      {"\xE2\x96", 2, "\\xE2\\x96"},                   /* cut short */
      {"\xC0\xAF", 2, "\\xC0\\xAF"},                   /* overlong '/' */
      {"\xED\xA0\x80", 3, "\\xED\\xA0\\x80"},          /* a surrogate */
      {"\xF4\x90\x80\x80", 4, "\\xF4\\x90\\x80\\x80"}, /* U+110000 */
      {"\xC2\x85", 2, "\\xC2\\x85"},                   /* U+0085, a C1 control */
      {"\\x41", 4, "\\\\x41"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nk_buffer escaped = {0}, raw = {0};
    nk_escape(&escaped, cases[i].raw, cases[i].n);
    assert_string_equal(escaped.data, cases[i].escaped);
    nk_unescape(&raw, escaped.data, escaped.size);
    assert_int_equal(raw.size, cases[i].n);
    assert_memory_equal(raw.data, cases[i].raw, cases[i].n);
    nk_buffer_free(&escaped);
    nk_buffer_free(&raw);
  }
}

static void any_bytes_survive_escaping(void **state) {
  (void)state;
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 0);
  for (int round = 0; round < 2000; round++) {
    char bytes[64];
    size_t n = (size_t)nki_random_below(&random, sizeof bytes);
    for (size_t i = 0; i < n; i++) bytes[i] = (char)nki_random_below(&random, 256);
    struct nk_buffer escaped = {0}, raw = {0};
    nk_escape(&escaped, bytes, n);
    for (size_t i = 0; i < escaped.size;) {
      size_t length = nk_utf8_length(escaped.data + i, escaped.size - i);
      assert_true(length > 0 && (unsigned char)escaped.data[i] >= 0x20);
      i += length;
    }
    nk_unescape(&raw, escaped.data != NULL ? escaped.data : "", escaped.size);
    assert_int_equal(raw.size, n);
    if (n != 0) assert_memory_equal(raw.data, bytes, n);
    nk_buffer_free(&escaped);
    nk_buffer_free(&raw);
  }
}

/* ---- Numbers ---- */

static void check_number(double value) {
  char expected[40];
  snprintf(expected, sizeof expected, "%.9g", value);
  struct nk_buffer text = {0};
  nk_buffer_number(&text, value);
  if (strcmp(text.data, expected) != 0) fail_msg("%s for %s", text.data, expected);
  nk_buffer_free(&text);
}

static void numbers_are_written_as_printf_writes_them(void **state) {
  (void)state;
  static const double odd[] = {0.0,
                               -0.0,
                               1,
                               10,
                               100000000,
                               999999999,
                               999999999.5,
                               1e9,
                               0.1,
                               0.5,
                               0.000123456789123,
                               0.0001,
                               0.00009999999999,
                               99999999.95,
                               1.000000005,
                               1.0000000049999,
                               123456789.5,
                               12345678.25,
                               9.9999999949,
                               9.9999999951,
                               1e-9,
                               1e-300,
                               1e300,
                               DBL_MIN,
                               DBL_MAX,
                               4.9e-324,
                               3.14159265358979,
                               2147483648.0,
                               0.30000000000000004};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    check_number(odd[i]);
    check_number(-odd[i]);
  }
  struct nki_random random = nki_random_stream(2, NKI_RANDOM_TEST, 0);
  for (int i = 0; i < 300000; i++) {
    double value = nki_random_normal(&random) * pow(10, 24 * nki_random_uniform(&random) - 12);
    check_number(value);
    check_number((double)(float)value);
    check_number(rint(value * 1e4) / 1e4);
    check_number(rint(value * 16) / 16); /* ties */
  }
}

static void the_extreme_integers_are_written(void **state) {
  (void)state;
  struct nk_buffer text = {0};
  nk_buffer_integer(&text, INT64_MIN);
  nk_buffer_byte(&text, ' ');
  nk_buffer_integer(&text, INT64_MAX);
  nk_buffer_byte(&text, ' ');
  nk_buffer_integer(&text, 0);
  assert_string_equal(text.data, "-9223372036854775808 9223372036854775807 0");
  nk_buffer_free(&text);
}

/* ---- Random numbers ---- */

/* The known answers of Random123's test vectors (Salmon et al. 2011). */
static void philox_gives_the_published_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], out[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < 3; i++) {
    uint32_t out[4];
    nki_philox(known[i].counter, known[i].key, out);
    assert_memory_equal(out, known[i].out, sizeof out);
  }
}

static void a_stream_is_a_function_of_its_place(void **state) {
  (void)state;
  struct nki_random a = nki_random_stream(5, NKI_RANDOM_TEST, 9), b = a;
  uint32_t first[16];
  for (size_t i = 0; i < 16; i++) first[i] = nki_random_u32(&a);
  for (size_t i = 16; i-- > 0;) {
    b.position = i;
    assert_int_equal(nki_random_u32(&b), first[i]);
  }
}

static int compare_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* 5,120 numbers of 64 bits: two of them are the same by chance once in 10^12 seeds. */
static void streams_of_different_purposes_share_no_numbers(void **state) {
  (void)state;
  enum { INDEXES = 8, EACH = 64, N = NKI_N_RANDOM_PURPOSES * INDEXES * EACH };
  static uint64_t numbers[N];
  size_t n = 0;
  for (int purpose = 0; purpose < NKI_N_RANDOM_PURPOSES; purpose++)
    for (uint64_t index = 0; index < INDEXES; index++) {
      struct nki_random random = nki_random_stream(7, (enum nki_random_purpose)purpose, index);
      for (int i = 0; i < EACH; i++) numbers[n++] = nki_random_u64(&random);
    }
  qsort(numbers, N, sizeof numbers[0], compare_u64);
  for (size_t i = 1; i < N; i++) assert_true(numbers[i - 1] != numbers[i]);
}

/* Mean and variance of n numbers lie within five standard errors of the distribution's. */
static void random_numbers_have_their_moments(void **state) {
  (void)state;
  enum { N = 200000 };
  double uniform[2] = {0}, normal[3] = {0}, below = 0;
  struct nki_random random = nki_random_stream(0, NKI_RANDOM_TEST, 3);
  for (int i = 0; i < N; i++) {
    double u = nki_random_uniform(&random), z = nki_random_normal(&random);
    assert_true(u >= 0 && u < 1);
    uniform[0] += u / N;
    uniform[1] += u * u / N;
    normal[0] += z / N;
    normal[1] += z * z / N;
    normal[2] += z * z * z * z / N;
    below += (double)nki_random_below(&random, 7) / N;
  }
  double root = sqrt((double)N);
  assert_true(fabs(uniform[0] - 0.5) < 5 * sqrt(1 / 12.0) / root);
  assert_true(fabs(uniform[1] - 1 / 3.0) < 5 * sqrt(4 / 45.0) / root);
  assert_true(fabs(normal[0]) < 5 / root);
  assert_true(fabs(normal[1] - 1) < 5 * sqrt(2.0) / root);
  assert_true(fabs(normal[2] - 3) < 5 * sqrt(96.0) / root);
  assert_true(fabs(below - 3) < 5 * 2 / root);
}

static void a_permutation_holds_every_number_once(void **state) {
  (void)state;
  size_t order[100];
  bool seen[100] = {false};
  struct nki_random random = nki_random_stream(4, NKI_RANDOM_TEST, 0);
  nki_random_permutation(&random, 100, order);
  for (size_t i = 0; i < 100; i++) {
    assert_true(order[i] < 100 && !seen[order[i]]);
    seen[order[i]] = true;
  }
}

/* ---- Files ---- */

static void an_output_appears_only_when_committed(void **state) {
  const char *folder = *state;
  char path[512];
  snprintf(path, sizeof path, "%s/out", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_TEXT);
  assert_non_null(output);
  assert_int_equal(nk_output_write(output, "half", 4), NK_OK);
  nk_output_free(output);
  assert_int_not_equal(access(path, F_OK), 0);
  for (int round = 0; round < 2; round++) { /* the second replaces the first */
    output = nk_output_open(path, NK_OUTPUT_TEXT);
    assert_int_equal(nk_output_write(output, round == 0 ? "round 0" : "round 1", 7), NK_OK);
    assert_int_equal(nk_output_commit(output), NK_OK);
    nk_output_free(output);
  }
  struct nk_file *file = nk_file_open(path);
  assert_int_equal(file->size, 7);
  assert_memory_equal(file->data, "round 1", 7);
  assert_true(file->mapped);
  nk_file_free(file);
}

static void a_full_device_is_noticed(void **state) {
  (void)state;
  struct nk_output *output = nk_output_open("/dev/full", NK_OUTPUT_TEXT);
  assert_non_null(output);
  assert_int_equal(nk_output_write(output, "x", 1), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_EIO);
  assert_string_equal(nk_error(), "/dev/full: No space left on device");
  nk_output_free(output);
}

static void an_unreadable_file_is_named_in_the_message(void **state) {
  (void)state;
  assert_null(nk_file_open("/nowhere/at/all"));
  assert_string_equal(nk_error(), "/nowhere/at/all: No such file or directory");
  assert_null(nk_file_open("/tmp"));
  assert_non_null(strstr(nk_error(), "/tmp: is a directory"));
}

/* The text is the example of the specification of Git LFS. */
static void a_git_lfs_pointer_is_recognized_in_any_file(void **state) {
  static const char pointer[] =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
  char path[512];
  snprintf(path, sizeof path, "%s/any.npy", (char *)*state);
  write_bytes(path, pointer, strlen(pointer));
  assert_null(nk_file_open(path));
  assert_int_equal(nk_error_code(), NK_EDATA);
  assert_non_null(strstr(nk_error(), "any.npy: is a Git LFS pointer"));
  assert_non_null(strstr(nk_error(), "git lfs pull"));
}

static void normals_of_a_row_are_those_one_by_one(void **state) {
  (void)state;
  enum { N = 1000, STARTS = 4 };
  for (uint64_t start = 0; start < STARTS; start++) {
    struct nki_random one = nki_random_stream(7, NKI_RANDOM_TEST, 5), row = one;
    double normals[N];
    one.position = row.position = (UINT64_C(1) << 34) - 40 + start; /* across 2^32 blocks */
    nki_random_normals(&row, N, normals);
    for (size_t i = 0; i < N; i++) assert_true(normals[i] == nki_random_normal(&one));
    assert_true(row.position == one.position);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_that_overflow_are_reported),
      cmocka_unit_test(the_version_is_that_of_the_header),
      cmocka_unit_test(messages_are_one_line_of_printable_utf8),
      cmocka_unit_test(a_failure_keeps_its_context),
      cmocka_unit_test(escaped_text_is_one_line_of_utf8_and_comes_back),
      cmocka_unit_test(any_bytes_survive_escaping),
      cmocka_unit_test(numbers_are_written_as_printf_writes_them),
      cmocka_unit_test(the_extreme_integers_are_written),
      cmocka_unit_test(philox_gives_the_published_answers),
      cmocka_unit_test(a_stream_is_a_function_of_its_place),
      cmocka_unit_test(streams_of_different_purposes_share_no_numbers),
      cmocka_unit_test(random_numbers_have_their_moments),
      cmocka_unit_test(a_permutation_holds_every_number_once),
      cmocka_unit_test(an_output_appears_only_when_committed),
      cmocka_unit_test(a_full_device_is_noticed),
      cmocka_unit_test(an_unreadable_file_is_named_in_the_message),
      cmocka_unit_test(a_git_lfs_pointer_is_recognized_in_any_file),
      cmocka_unit_test(json_as_python_writes_it_is_read),
      cmocka_unit_test(a_json_text_that_ends_early_stays_an_error),
      cmocka_unit_test(normals_of_a_row_are_those_one_by_one),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
