/* safetensors: files that the format's description allows are read back, others are errors. */
#include "unit.h"

#include <sys/resource.h>
#include <unistd.h>
#include "model/safetensors.h"

static char path[256];

/* A file of this header, announced as `length` bytes long, and n zero bytes. */
static void write_file(void **state, uint64_t length, const char *header, size_t n) {
  snprintf(path, sizeof path, "%s/model.safetensors", (char *)*state);
  size_t size = strlen(header);
  unsigned char *bytes = calloc(8 + size + n, 1);
  memcpy(bytes, &length, 8);
  memcpy(bytes + 8, header, size);
  write_bytes(path, bytes, 8 + size + n);
  free(bytes);
}

static struct nki_safetensors *read_header(void **state, const char *header, size_t n) {
  write_file(state, strlen(header), header, n);
  return nki_safetensors_open(path);
}

static void tensors_are_given_in_the_order_of_their_bytes(void **state) {
  struct nki_safetensors *st =
      read_header(state,
                  "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                  "\"__metadata__\":{\"format\":\"pt\",\"z\":\"\"},"
                  "\"nothing\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[8,8]},"
                  "\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}   ",
                  20);
  assert_non_null(st);
  assert_int_equal(nki_safetensors_n_tensors(st), 3);
  assert_string_equal(nki_safetensors_tensor(st, 0)->name, "scalar");
  assert_int_equal(nki_safetensors_tensor(st, 0)->n_elements, 1);
  assert_string_equal(nki_safetensors_tensor(st, 1)->name, "nothing");
  const struct nk_tensor *b = nki_safetensors_find(st, "b");
  assert_ptr_equal(b, nki_safetensors_tensor(st, 2));
  assert_int_equal(b->n_dims, 2);
  assert_int_equal(b->shape[1], 3);
  assert_int_equal(b->n_bytes, 12);
  assert_null(nki_safetensors_find(st, "c"));
  assert_non_null(strstr(nk_error(), "no tensor 'c'"));
  const char *key, *value;
  assert_int_equal(nki_safetensors_metadata(st, 0, &key, &value), NK_OK);
  assert_string_equal(key, "format");
  assert_int_equal(nki_safetensors_metadata(st, 2, &key, &value), NK_ENOTFOUND);
  assert_string_equal(nki_safetensors_metadata_find(st, "z"), "");
  nki_safetensors_free(st);
}

/* The reader of the safetensors crate takes null for no metadata: serde reads an Option of a map.
 * */
static void metadata_of_null_is_no_metadata(void **state) {
  struct nki_safetensors *st = read_header(
      state,
      "{\"__metadata__\":null,\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
  const char *key, *value;
  assert_non_null(st);
  assert_int_equal(nki_safetensors_n_tensors(st), 1);
  assert_int_equal(nki_safetensors_metadata(st, 0, &key, &value), NK_ENOTFOUND);
  nki_safetensors_free(st);
}

/* tests/fixtures/dtypes.py */
static void each_dtype_has_the_size_of_the_formats_own_reader(void **state) {
  static const struct {
    const char *dtype;
    size_t n_bytes; /* of a [2, 4] tensor */
  } cases[] = {
      {"F64", 64},        {"F32", 32},        {"F16", 16},    {"BF16", 16},   {"I64", 64},
      {"I32", 32},        {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},
      {"U16", 16},        {"U8", 8},          {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
      {"F4", 4},          {"C64", 64},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    for (size_t n = 0; n <= 65; n++) {
      char header[128];
      snprintf(header, sizeof header,
               "{\"x\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%zu]}}",
               cases[i].dtype, n);
      struct nki_safetensors *st = read_header(state, header, n);
      if ((st != NULL) != (n == cases[i].n_bytes)) fail_msg("%s: %zu bytes", cases[i].dtype, n);
      if (st != NULL) {
        assert_int_equal(nki_safetensors_tensor(st, 0)->n_bytes, n);
        assert_string_equal(nki_safetensors_tensor(st, 0)->dtype_name, cases[i].dtype);
      }
      nki_safetensors_free(st);
    }
  }
}

static void a_tensor_of_an_unknown_dtype_has_the_bytes_of_its_offsets(void **state) {
  struct nki_safetensors *st =
      read_header(state,
                  "{\"q\":{\"dtype\":\"Q4_1\",\"shape\":[4,7],\"data_offsets\":[0,5]},"
                  "\"w\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[5,13]}}",
                  13);
  assert_non_null(st);
  const struct nk_tensor *q = nki_safetensors_find(st, "q"), *w = nki_safetensors_find(st, "w");
  assert_string_equal(q->dtype_name, "Q4_1");
  assert_int_equal(q->dtype, NK_OTHER);
  assert_int_equal(q->n_elements, 28);
  assert_int_equal(q->n_bytes, 5);
  float row[7];
  assert_int_equal(nk_model_rows(w, 0, 1, row), NK_OK);
  assert_int_equal(nk_model_rows(q, 0, 1, row), NK_EUNSUPPORTED);
  assert_string_equal(
      nk_error(),
      "tensor 'q': elements of type Q4_1, where F32, F16, BF16 or F64 is needed; use "
      "a checkpoint that is not quantized, or a GGUF");
  nki_safetensors_free(st);
}

#define TENSOR(name, shape, begin, end) \
  "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void damaged_headers_are_refused_with_the_reason(void **state) {
  static const struct {
    const char *header;
    size_t n;
    const char *message;
  } cases[] = {
      {"{" TENSOR("w", "[2]", "0", "8") "}", 4, "tensor 'w': its bytes end at 8, but only 4"},
      {"{" TENSOR("w", "[2]", "0", "12") "}", 12, "tensor 'w': dtype and shape need 8 bytes"},
      {"{" TENSOR("w", "[2]", "8", "0") "}", 8, "tensor 'w': 'data_offsets' is not"},
      {"{" TENSOR("w", "[2]", "0,0", "8") "}", 8, "tensor 'w': 'data_offsets' is not"},
      {"{" TENSOR("w", "[2]", "-8", "0") "}", 8, "a negative size"},
      {"{" TENSOR("w", "[2]", "0", "18446744073709551615") "}", 8, "a number too large"},
      {"{" TENSOR("w", "[4294967296,4294967296]", "0", "0") "}", 0, "tensor 'w': the product"},
      {"{" TENSOR("w", "[4294967296,0,4294967296]", "0", "0") "}", 0, "tensor 'w': the product"},
      {"{" TENSOR("w", "[461168601842738790]", "0", "0") "}", 0, "data_offsets give 0"},
      {"{" TENSOR("w", "[-1]", "0", "4") "}", 4, "a negative size"},
      {"{" TENSOR("w", "[1.5]", "0", "4") "}", 4, "a whole number expected"},
      {"{" TENSOR("w", "7", "0", "4") "}", 4,
       "tensor 'w': header: line 1, column 29: '[' expected"},
      {"{" TENSOR("w", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "has 9 dimensions"},
      {"{" TENSOR("a", "[2]", "0", "8") "," TENSOR("b", "[2]", "4", "12") "}", 12,
       "tensor 'b': overlaps 'a'"},
      {"{" TENSOR("a", "[1]", "0", "4") "," TENSOR("b", "[1]", "8", "12") "}", 12,
       "tensor 'b': a gap lies before it, after 'a'"},
      {"{" TENSOR("a", "[1]", "4", "8") "}", 8, "a gap lies before it, after 'the header'"},
      {"{" TENSOR("a", "[1]", "0", "4") "}", 6, "2 bytes at the end belong to no tensor"},
      {"{" TENSOR("a", "[1]", "0", "4") "," TENSOR("a", "[1]", "4", "8") "}", 8,
       "duplicate tensor 'a'"},
      {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
       "tensor 'a': 3 elements of dtype F4 do not fill whole bytes"},
      {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3,
       "tensor 'a': its bytes end at 4, but only 3"},
      {"{\"a\":{\"dtype\":null,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'\"' expected"},
      {"{\"__metadata__\":nothing}", 0, "a value expected"},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'dtype' is missing"},
      {"{\"a\":[]}", 0, "'{' expected"},
      {"{\"__metadata__\":{\"k\":1}}", 0, "'\"' expected"},
      {"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0, "__metadata__: duplicate key 'k'"},
      {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, "a zero byte"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "a second __metadata__"},
      {"{\"a\\u0000b\":{}}", 0, "a zero byte"},
      {"{\"\xff\":{}}", 0, "not valid UTF-8"},
      {"{} x", 0, "line 1, column 4: the end expected"},
      {"{\"a\":{\"what\":[{}]}}", 0, "tensor 'a': 'dtype' is missing"},
      {"{\"a\":{\"dtype\":\"I8\",\"shape\":[],\"dtype\":\"F32\"}}", 0, "duplicate member 'dtype'"},
      {"{\"__metadata__\":[]}", 0, "'{' expected"},
      {"[]", 0, "line 1, column 1: '{' expected"},
      {"{\n \"a\": nonsense}", 0, "line 2, column 7: '{' expected"},
      {"", 0, "line 1, column"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_null(read_header(state, cases[i].header, cases[i].n));
    if (strstr(nk_error(), cases[i].message) == NULL ||
        strstr(nk_error(), "model.safetensors: ") == NULL)
      fail_msg("'%s' instead of '%s'", nk_error(), cases[i].message);
  }
}

static void header_lengths_beyond_the_file_are_refused(void **state) {
  static const uint64_t lengths[] = {3, 1000, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    write_file(state, lengths[i], "{}", 0);
    assert_null(nki_safetensors_open(path));
    assert_non_null(strstr(nk_error(), "or cut short"));
  }
  write_bytes(path, "\2\0\0", 3);
  assert_null(nki_safetensors_open(path));
  assert_non_null(strstr(nk_error(), "only 3 bytes"));
  write_bytes(path, "", 0);
  assert_null(nki_safetensors_open(path));
}

static void deep_nesting_is_refused(void **state) {
  char *header = malloc(1 << 20);
  memset(header, '[', (1 << 20) - 1);
  header[(1 << 20) - 1] = 0;
  assert_null(read_header(state, header, 0));
  assert_non_null(strstr(nk_error(), "line 1, column"));
  free(header);
}

#ifndef __SANITIZE_ADDRESS__
/* The largest resident size of this process so far, in bytes. */
static size_t largest_size(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (size_t)usage.ru_maxrss * 1024;
}
#endif

static void hostile_headers_cost_a_small_multiple_of_their_size(void **state) {
#ifdef __SANITIZE_ADDRESS__
  (void)state;
  print_message("[          ] skipped: the sanitizer's own memory hides what is measured\n");
  skip();
#else
  static const struct {
    const char *head, *value;
  } cases[] = {{"{\"a\":{\"shape\":", "[]"}, {"{", "{}"}, {"{\"__metadata__\":{", "\"\""}};
  enum { SIZE = 8 << 20 };
  char *header = malloc(SIZE + 64);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    size_t n = strlen(strcpy(header, cases[c].head));
    if (c == 0) header[n++] = '[';
    for (size_t i = 0; n < SIZE; i++) {
      if (c > 0) n += (size_t)snprintf(header + n, 32, "\"%zx\":", i);
      n += (size_t)snprintf(header + n, 32, "%s,", cases[c].value);
    }
    write_file(state, n, header, 0);
    size_t before = largest_size();
    assert_null(nki_safetensors_open(path));
    size_t more = largest_size() - before;
    if (more > 4 * (size_t)SIZE) fail_msg("case %zu: %zu bytes", c, more);
  }
  free(header);
#endif
}

/* ---- Writing ---- */

static struct nk_output *open_output(void **state) {
  snprintf(path, sizeof path, "%s/written.safetensors", (char *)*state);
  unlink(path);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_non_null(output);
  return output;
}

static void what_is_written_in_pieces_is_read_back(void **state) {
  static const float a[2] = {1, 2};
  static const uint8_t c[3] = {7, 8, 9};
  struct nk_output *output = open_output(state);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  struct nk_tensor tensors[] = {
      {.name = "a", .dtype = NK_F32, .n_dims = 1, .shape = {2}, .data = a},
      {.name = "stream \"\n\xC3\xA9", .dtype = NK_I16, .n_dims = 2, .shape = {2, 2}},
      {.name = "empty", .dtype = NK_F32, .n_dims = 1, .shape = {0}},
      {.name = "c", .dtype = NK_U8, .n_dims = 1, .shape = {3}, .data = c},
  };
  assert_int_equal(nki_safetensors_writer_metadata(writer, "k\"ey", "tab\t\\"), NK_OK);
  for (int i = 0; i < 4; i++)
    assert_int_equal(nki_safetensors_writer_add(writer, &tensors[i]), NK_OK);
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_bytes(writer, "12345", 5), NK_OK);
  assert_int_equal(nki_safetensors_writer_bytes(writer, "6789", 4), NK_EUSAGE); /* one too many */
  assert_int_equal(nki_safetensors_writer_bytes(writer, "678", 3), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);

  struct nki_safetensors *st = nki_safetensors_open(path);
  assert_non_null(st);
  const struct nk_tensor *stream = nki_safetensors_find(st, "stream \"\n\xC3\xA9");
  assert_memory_equal(stream->data, "12345678", 8);
  assert_memory_equal(nki_safetensors_find(st, "a")->data, a, sizeof a);
  assert_memory_equal(nki_safetensors_find(st, "c")->data, c, sizeof c);
  assert_string_equal(nki_safetensors_metadata_find(st, "k\"ey"), "tab\t\\");
  const unsigned char *start = nki_safetensors_file(st)->data;
  size_t at = (size_t)((const unsigned char *)nki_safetensors_tensor(st, 0)->data - start);
  assert_int_equal(at % 8, 0); /* as the format's own writer aligns them */
  nki_safetensors_free(st);
}

static void bytes_left_out_are_noticed(void **state) {
  struct nk_output *output = open_output(state);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  struct nk_tensor tensor = {.name = "w", .dtype = NK_F32, .n_dims = 1, .shape = {2}};
  assert_int_equal(nki_safetensors_writer_add(writer, &tensor), NK_OK);
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_bytes(writer, "1234", 4), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_EUSAGE);
  assert_non_null(strstr(nk_error(), "tensor 'w': 4 of its 8 bytes were not given"));
  nk_output_free(output);
  assert_int_not_equal(access(path, F_OK), 0); /* never committed */
}

static void names_that_are_not_utf8_are_refused(void **state) {
  struct nk_output *output = open_output(state);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  assert_int_equal(nki_safetensors_writer_metadata(writer, "k", "\xff"), NK_EDATA);
  nki_safetensors_writer_free(writer);
  nk_output_free(output);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_are_given_in_the_order_of_their_bytes),
      cmocka_unit_test(metadata_of_null_is_no_metadata),
      cmocka_unit_test(each_dtype_has_the_size_of_the_formats_own_reader),
      cmocka_unit_test(a_tensor_of_an_unknown_dtype_has_the_bytes_of_its_offsets),
      cmocka_unit_test(damaged_headers_are_refused_with_the_reason),
      cmocka_unit_test(header_lengths_beyond_the_file_are_refused),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(hostile_headers_cost_a_small_multiple_of_their_size),
      cmocka_unit_test(what_is_written_in_pieces_is_read_back),
      cmocka_unit_test(bytes_left_out_are_noticed),
      cmocka_unit_test(names_that_are_not_utf8_are_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
