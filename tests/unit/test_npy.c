/* .npy: files that NumPy wrote (tests/fixtures/npy.py), damaged ones, and headers written here. */
#include "unit.h"

#define FOLDER "tests/fixtures/npy/"

static void matrices_of_every_float_order_and_version_are_read(void **state) {
  (void)state;
  static const char *const names[] = {"f4",          "f4-fortran", "f4-version2",
                                      "f4-version3", "f2",         "f8-fortran"};
  for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s.npy", names[f]);
    struct nk_vectors *set = nk_vectors_read(path);
    if (set == NULL) fail_msg("%s: %s", names[f], nk_error());
    assert_int_equal(set->n, 3);
    assert_int_equal(set->dim, 4);
    for (size_t i = 0; i < 12; i++) {
      if (set->values[i] != (float)i + 0.5f) fail_msg("%s: value %zu", names[f], i);
    }
    assert_int_equal(set->ids[2], 2);
    nk_vectors_free(set);
  }
}

static void arrays_of_one_row_and_of_none_are_read(void **state) {
  (void)state;
  struct nk_vectors *set = nk_vectors_read(FOLDER "one-row.npy");
  assert_non_null(set);
  assert_int_equal(set->n, 1);
  nk_vectors_free(set);
  assert_non_null(set = nk_vectors_read(FOLDER "no-rows.npy"));
  assert_int_equal(set->n, 0);
  assert_int_equal(set->dim, 4);
  nk_vectors_free(set);
}

static void an_array_of_one_dimension_is_one_row(void **state) {
  (void)state;
  static const char *const names[] = {"one-dimension", "one-dimension-f8"};
  for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s.npy", names[f]);
    struct nk_vectors *set = nk_vectors_read(path);
    assert_non_null(set);
    assert_int_equal(set->n, 1);
    assert_int_equal(set->dim, 4);
    for (size_t i = 0; i < 4; i++) assert_true(set->values[i] == (float)i + 0.5f);
    nk_vectors_free(set);
  }
}

static void keep_warning(const char *message, void *user) {
  snprintf(user, 512, "%s", message);
}

/* 1e300, a double that no float holds, is in row 2. */
static void a_value_beyond_a_float_is_called_that(void **state) {
  (void)state;
  static const char *const names[] = {"beyond-float", "beyond-float-fortran"};
  for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
    char path[256], expected[512], warning[512] = "";
    snprintf(path, sizeof path, FOLDER "%s.npy", names[f]);
    nk_on_warning(keep_warning, warning);
    struct nk_vectors *set = nk_vectors_read(path);
    nk_on_warning(NULL, NULL);
    assert_non_null(set);
    snprintf(expected, sizeof expected,
             "%s: row 2 holds 1e+300, beyond the range of a float: it is read as an infinity",
             path);
    assert_string_equal(warning, expected);
    assert_int_equal(nk_vectors_check_finite(&set, false), NK_EDATA);
    snprintf(expected, sizeof expected,
             "%s: row 2 holds 1e+300, beyond the range of a float (3.4e38)", path);
    assert_string_equal(nk_error(), expected);
    assert_int_equal(nk_vectors_check_finite(&set, true), NK_OK);
    assert_int_equal(set->n, 2);
    nk_vectors_free(set);
  }
}

static void arrays_that_are_not_float_matrices_are_rejected(void **state) {
  (void)state;
  static const struct {
    const char *name, *message;
  } cases[] = {
      {"i8", "type I64"},
      {"three-dimensions", "has 3 dimensions"},
      {"big-endian", "big-endian"},
      {"object", "Python objects (dtype object)"},
      {"structured", "structured dtype"},
      {"complex", "dtype '<c8' is not supported"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s.npy", cases[i].name);
    assert_null(nk_vectors_read(path));
    if (strstr(nk_error(), cases[i].message) == NULL ||
        strncmp(nk_error(), path, strlen(path)) != 0)
      fail_msg("%s: '%s'", cases[i].name, nk_error());
  }
}

/* A version 1 file of this header and n zero bytes. */
static void assert_rejected(const char *path, const char *header, size_t n, const char *message) {
  unsigned char bytes[512] = "\x93NUMPY\x01";
  size_t length = strlen(header);
  bytes[8] = (unsigned char)length;
  memcpy(bytes + 10, header, length);
  write_bytes(path, bytes, 10 + length + n);
  assert_null(nk_vectors_read(path));
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' instead of '%s'", nk_error(), message);
}

static void damaged_headers_are_rejected(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/damaged.npy", (char *)*state);
  assert_rejected(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 20,
                  "need 24 bytes, the file has 20 after");
  assert_rejected(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 28,
                  "need 24 bytes, the file has 28 after");
  assert_rejected(path,
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
                  0, "overflows");
  assert_rejected(path,
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 1), }",
                  0, "tuple of numbers");
  assert_rejected(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3), }", 0,
                  "tuple of numbers");
  assert_rejected(path, "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), }", 0,
                  "neither True nor False");
  assert_rejected(path, "{'descr': '<f4', 'shape': (2, 3)}", 24, "lacks");
  assert_rejected(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", 24, "tuple of");
  assert_rejected(path, "{'descr': '<f4", 24, "");
  assert_rejected(path, "[]", 24, "not a dictionary");
  assert_rejected(path, "{'shape': (1,1,1,1,1,1,1,1,1)}", 4, "more than 8 dimensions");
  write_bytes(path, "\x93NUMPY\x01\x00\xff\xff{}", 12);
  assert_null(nk_vectors_read(path));
  assert_non_null(strstr(nk_error(), "ends within the header"));
  write_bytes(path, "\x93NUMPY\x09\x00\x02\x00{} ", 13);
  assert_null(nk_vectors_read(path));
  assert_non_null(strstr(nk_error(), ".npy version 9.0"));
  write_bytes(path, "\x93NUMPY", 6);
  assert_null(nk_vectors_read(path));
}

static void written_headers_equal_those_of_numpy(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/written.npy", (char *)*state);
  struct nk_vectors *set = nk_vectors_read(FOLDER "f4.npy");
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_int_equal(nk_convert(set, NK_FORMAT_NPY, output), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_vectors_free(set);
  struct nk_file *numpy = nk_file_open(FOLDER "f4.npy"), *own = nk_file_open(path);
  assert_int_equal(own->size, numpy->size);
  assert_memory_equal(own->data, numpy->data, numpy->size);
  nk_file_free(own);
  nk_file_free(numpy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(matrices_of_every_float_order_and_version_are_read),
      cmocka_unit_test(arrays_of_one_row_and_of_none_are_read),
      cmocka_unit_test(an_array_of_one_dimension_is_one_row),
      cmocka_unit_test(a_value_beyond_a_float_is_called_that),
      cmocka_unit_test(arrays_that_are_not_float_matrices_are_rejected),
      cmocka_unit_test(damaged_headers_are_rejected),
      cmocka_unit_test(written_headers_equal_those_of_numpy),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
