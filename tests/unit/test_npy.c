/* .npy: files that NumPy wrote (tests/fixtures/npy.py), damaged ones, and headers written here. */
#include "unit.h"

#include <math.h>

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

static void count_warning(const char *message, void *user) {
  (void)message;
  ++*(size_t *)user;
}

/* Two arrays of two dimensions: the one called `vectors` is taken; one with an array of strings. */
static void archives_of_arrays_are_read(void **state) {
  (void)state;
  size_t n_warnings = 0;
  nk_on_warning(count_warning, &n_warnings);
  struct nk_vectors *set = nk_vectors_read(FOLDER "set.npz");
  if (set == NULL) fail_msg("%s", nk_error());
  assert_int_equal(n_warnings, 1);
  assert_int_equal(set->n, 3);
  assert_int_equal(set->dim, 4);
  for (size_t i = 0; i < 12; i++) assert_true(set->values[i] == (float)i + 0.5f);
  assert_int_equal(set->ids[1], 8);
  assert_int_equal(set->n_columns, 1);
  assert_string_equal(set->columns[0].name, "weight");
  assert_true(set->columns[0].data.number[2] == 2);
  nk_vectors_free(set);
  assert_non_null(set = nk_vectors_read(FOLDER "columns.npz"));
  assert_int_equal(n_warnings, 1);
  assert_int_equal(set->n_columns, 4);
  for (size_t c = 0; c < 4; c++) {
    const struct nk_column *column = &set->columns[c];
    bool whole = strcmp(column->name, "half") != 0;
    assert_int_equal(column->dtype, whole ? NK_I64 : NK_F32);
    if (whole)
      assert_int_equal(column->data.integer[2], strcmp(column->name, "flag") == 0 ? 1 : 5);
    else
      assert_true(column->data.number[2] == 2.5);
  }
  nk_vectors_free(set);
  assert_non_null(set = nk_vectors_read(FOLDER "text.npz"));
  assert_int_equal(n_warnings, 2);
  assert_true(set->values[11] == 11.5f);
  nk_vectors_free(set);
  nk_on_warning(NULL, NULL);
  assert_null(nk_vectors_read(FOLDER "two.npz"));
  assert_non_null(strstr(nk_error(), "2 of 2 dimensions"));
  assert_null(nk_vectors_read(FOLDER "compressed.npz"));
  assert_non_null(strstr(nk_error(), "is compressed: save it with numpy.savez"));
  assert_null(nk_vectors_read(FOLDER "twice.npz"));
  assert_non_null(strstr(nk_error(), "two arrays are called 'k'"));
  assert_null(nk_vectors_read(FOLDER "overlap.npz"));
  assert_non_null(strstr(nk_error(), "its arrays overlap"));
}

/* Cut anywhere, and with each byte of the directory and the files' heads changed: an error, or the
 * same numbers. */
static void damaged_archives_are_refused(void **state) {
  char path[256];
  static unsigned char bytes[4096];
  snprintf(path, sizeof path, "%s/damaged.npz", (char *)*state);
  FILE *file = fopen(FOLDER "text.npz", "rb");
  assert_non_null(file);
  size_t n = fread(bytes, 1, sizeof bytes, file);
  assert_int_equal(fclose(file), 0);
  assert_true(n > 300 && n < sizeof bytes);
  for (size_t cut = 0; cut < n; cut += 7) {
    write_bytes(path, bytes, cut);
    assert_null(nk_vectors_read(path));
  }
  for (size_t at = 0; at < n; at++) {
    bytes[at] ^= 0xFF;
    write_bytes(path, bytes, n);
    struct nk_vectors *set = nk_vectors_read(path);
    if (set != NULL) assert_true(set->n * set->dim == 12);
    nk_vectors_free(set);
    bytes[at] ^= 0xFF;
  }
}

static struct nk_vectors *read_string(const char *folder, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/text", folder);
  write_bytes(path, text, strlen(text));
  return nk_vectors_read(path);
}

/* What numpy.savetxt, pandas and nk-convert write. */
static void tables_of_numbers_are_read(void **state) {
  static const char *const texts[] = {"1,2\n3,-4.5e1\n",
                                      "# a comment\r\n1 2\r\n  3   -45 \r\n",
                                      "\xEF\xBB\xBFv1\tv2\n1\t2\n\n3\t-45",
                                      ",0,1\n0,1,2\n1,3,-45\n",
                                      "id;dim_8;dim_9\n0;1;2\n1;3;-45\n",
                                      "   \n\n  # spaces first\n1 2\n \n3 -45\n",
                                      "v1, v2\n 1, 2 \n   \n3,\" -45 \"\n",
                                      "word,v1,v2\na,1,2\nb,3,-45\n"};
  size_t n_warnings = 0;
  nk_on_warning(count_warning, &n_warnings);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct nk_vectors *set = read_string(*state, texts[i]);
    if (set == NULL) fail_msg("%zu: %s", i, nk_error());
    assert_int_equal(set->n, 2);
    assert_int_equal(set->dim, 2);
    assert_int_equal(set->ids[1], 1);
    assert_int_equal(set->n_columns, 0);
    const float want[] = {1, 2, 3, -45};
    assert_memory_equal(set->values, want, sizeof want);
    nk_vectors_free(set);
  }
  assert_int_equal(n_warnings, 1); /* of the words */
  nk_on_warning(NULL, NULL);
  struct nk_vectors *set = nk_vectors_read(FOLDER "savetxt.txt");
  assert_non_null(set);
  for (size_t i = 0; i < 12; i++) assert_true(set->values[i] == (float)i + 0.5f);
  nk_vectors_free(set);
}

static void a_table_gives_ids_texts_and_columns(void **state) {
  static const char *const texts[] = {"id\ttext\tv1\tn\tx\n5\t\\ta\t1\t3\t\n6\t\t2\t4\t0.5\n",
                                      "id,text,v1,n,x\n5,\"\ta\",1,3,NA\n6,,2,4,0.5\n"};
  for (size_t i = 0; i < 2; i++) {
    struct nk_vectors *set = read_string(*state, texts[i]);
    size_t n;
    if (set == NULL) fail_msg("%zu: %s", i, nk_error());
    assert_true(set->n == 2 && set->dim == 1 && set->ids[0] == 5 && set->values[1] == 2);
    assert_memory_equal(nk_vectors_text(set, 0, &n), "\ta", 2);
    assert_int_equal(n, 2);
    nk_vectors_text(set, 1, &n);
    assert_int_equal(n, 0);
    assert_int_equal(set->n_columns, 2);
    assert_true(set->columns[0].dtype == NK_I64 && set->columns[0].data.integer[1] == 4);
    assert_true(isnan(set->columns[1].data.number[0]) && set->columns[1].data.number[1] == 0.5);
    nk_vectors_free(set);
  }
}

/* Spaces and quotes are a token's, in and outside of quotes. */
static void texts_keep_their_spaces_and_quotes(void **state) {
  static const char *const want[] = {" the", "  ", " \"a", "b \"", ""};
  struct nk_vectors *set =
      read_string(*state, "text,v1\n the,1\n\"  \",2\n\" \"\"a\",3\n\"b \"\"\",4\n\"\",5\n");
  if (set == NULL) fail_msg("%s", nk_error());
  assert_int_equal(set->n, 5);
  for (size_t i = 0, n; i < set->n; i++) {
    const char *text = nk_vectors_text(set, i, &n);
    assert_int_equal(n, strlen(want[i]));
    assert_memory_equal(text, want[i], n);
  }
  nk_vectors_free(set);
}

/* Missing numbers make a first line no header, and a blank line is no row. */
static void rows_are_neither_lost_nor_made(void **state) {
  static const struct {
    const char *text;
    size_t n, dim;
    float first;
  } cases[] = {{"0.1,0.2,NA\n0.5,0.6,0.7\n", 2, 3, 0.1f},
               {"0.1,,0.3\n0.5,0.6,0.7\n", 2, 3, 0.1f},
               {",0.2,0.3\n0.5,0.6,0.7\n", 2, 3, NAN},
               {"1\n2\n\n3\n\n", 3, 1, 1},
               {"1\n\"\"\n3\n", 3, 1, 1},
               {",4,5\n0,1,2\n", 1, 2, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nk_vectors *set = read_string(*state, cases[i].text);
    if (set == NULL) fail_msg("%zu: %s", i, nk_error());
    if (set->n != cases[i].n || set->dim != cases[i].dim)
      fail_msg("%zu: %zu rows of %zu", i, set->n, set->dim);
    float first = set->values[0];
    assert_true(first == cases[i].first || (isnan(first) && isnan(cases[i].first)));
    assert_int_equal(set->n_columns, 0);
    nk_vectors_free(set);
  }
}

static void texts_that_are_no_vectors_are_named(void **state) {
  static const char *const texts[][2] = {
      {"1,2\n3\n", "line 2 has 1 cells, the first has 2"},
      {"1,2\n3,x\n", "line 2, cell 2: 'x' is not a number"},
      {"1,2\n3,0x10\n", "line 2, cell 2: '0x10' is not a number"},
      {"id,v1\n0.5,1\n", "line 2, cell 1: '0.5' is not a number"},
      {"id\trank\tscore\n1\t2\t3\n", "a table, but not a vector set"},
      {"a1,a2,b1,b2\n1,2,3,4\n", "2 groups of 2 columns"},
      {"0,1,2\n5,6,7\n", "can be names or values"},
      {"k,k,v1,v2\n1,2,3,4\n", "two columns are called 'k'"},
      {"text,text,v1\na,b,3\n", "line 1: two columns are called 'text'"},
      {"id,v1,id\n1,2,3\n", "line 1: two columns are called 'id'"},
      {"{\"id\": 3}\n", "JSON is not read as a vector set"},
      {"\n# nothing\n", "a text without numbers"}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    assert_null(read_string(*state, texts[i][0]));
    if (strstr(nk_error(), texts[i][1]) == NULL) fail_msg("%zu: %s", i, nk_error());
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
      cmocka_unit_test(archives_of_arrays_are_read),
      cmocka_unit_test(damaged_archives_are_refused),
      cmocka_unit_test(tables_of_numbers_are_read),
      cmocka_unit_test(a_table_gives_ids_texts_and_columns),
      cmocka_unit_test(texts_keep_their_spaces_and_quotes),
      cmocka_unit_test(rows_are_neither_lost_nor_made),
      cmocka_unit_test(texts_that_are_no_vectors_are_named),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
