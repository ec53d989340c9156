/* Vector sets: reading, writing, rows that are not finite, the history, rows of a model. */
#include "unit.h"

#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/options.h"
#include "cli/sets.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/safetensors.h"

/* ---- What the tests share ---- */

static char path[2][256];

static void set_paths(void **state) {
  snprintf(path[0], sizeof path[0], "%s/a.safetensors", (char *)*state);
  snprintf(path[1], sizeof path[1], "%s/b.safetensors", (char *)*state);
}

static void write_set(const struct nk_vectors *set, const char *to) {
  struct nk_output *output = nk_output_open(to, NK_OUTPUT_BINARY);
  assert_non_null(output);
  assert_int_equal(nk_vectors_write(set, output), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
}

/* A safetensors file of this header and n bytes of data. */
static void write_raw(const char *to, const char *header, const void *data, size_t n) {
  unsigned char bytes[4096] = {0};
  uint64_t length = strlen(header);
  memcpy(bytes, &length, 8);
  memcpy(bytes + 8, header, length);
  if (n > 0) memcpy(bytes + 8 + length, data, n);
  write_bytes(to, bytes, 8 + length + n);
}

static void assert_same_files(const char *a, const char *b) {
  struct nk_file *x = nk_file_open(a), *y = nk_file_open(b);
  assert_true(x != NULL && y != NULL);
  assert_int_equal(x->size, y->size);
  assert_memory_equal(x->data, y->data, x->size);
  nk_file_free(x);
  nk_file_free(y);
}

/* Three rows of two values with text and columns. */
static struct nk_vectors *small_set(void) {
  static const float values[6] = {1, 2, 3, 4, 5, 6};
  static const int64_t offsets[4] = {0, 2, 2, 5};
  static const double distance[3] = {0.5, NAN, -1};
  static const int64_t rank[3] = {9, INT64_MIN, 7};
  struct nk_vectors *set = nk_vectors_new(3, 2, NULL, false);
  assert_non_null(set);
  memcpy(nk_vectors_writable(set), values, sizeof values);
  assert_int_equal(nk_vectors_set_text(set, "a\0\xff\n\"", offsets), NK_OK);
  assert_int_equal(nk_vectors_set_numbers(set, "distance", distance), NK_OK);
  assert_int_equal(nk_vectors_set_integers(set, "rank", rank), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.model", "a \"model\"\n"), NK_OK);
  return set;
}

/* ---- Files ---- */

static void a_set_comes_back_as_it_was_written(void **state) {
  set_paths(state);
  struct nk_vectors *set = small_set(), *back;
  write_set(set, path[0]);
  assert_non_null(back = nk_vectors_read(path[0]));
  assert_int_equal(back->n, 3);
  assert_int_equal(back->dim, 2);
  assert_memory_equal(back->values, set->values, 6 * sizeof(float));
  assert_null(nk_vectors_writable(back)); /* mapped, not copied */
  for (size_t row = 0; row < 3; row++) {
    size_t n, m;
    const char *a = nk_vectors_text(set, row, &n), *b = nk_vectors_text(back, row, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    assert_int_equal(back->ids[row], row);
  }
  assert_true(isnan(nk_vectors_column(back, "distance")->data.number[1]));
  assert_true(nk_vectors_column(back, "rank")->data.integer[1] == INT64_MIN);
  assert_string_equal(nk_vectors_metadata(back, "noken.model"), "a \"model\"\n");
  assert_string_equal(nk_vectors_metadata(back, "noken.kind"), "vectors");
  nk_vectors_free(back);
  nk_vectors_free(set);
}

static void unknown_tensors_and_metadata_are_written_back_unchanged(void **state) {
  set_paths(state);
  static const unsigned char data[16 + 16 + 8 + 3] = {1, 2, 3};
  write_raw(path[0],
            "{\"__metadata__\":{\"author\":\"someone\",\"noken.kind\":\"vectors\"},"
            "\"id\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
            "\"vectors\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[16,32]},"
            "\"loss\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]},"
            "\"odd\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[40,43]}}",
            data, sizeof data);
  struct nk_vectors *set = nk_vectors_read(path[0]);
  assert_non_null(set);
  assert_string_equal(nk_vectors_metadata(set, "author"), "someone");
  assert_non_null(nk_vectors_column(set, "loss"));
  write_set(set, path[0]); /* over the file that is being read */
  nk_vectors_free(set);
  struct nki_safetensors *st = nki_safetensors_open(path[0]);
  assert_non_null(nki_safetensors_find(st, "odd"));
  assert_int_equal(nki_safetensors_find(st, "loss")->dtype, NK_F32);
  nki_safetensors_free(st);
  assert_non_null(set = nk_vectors_read(path[0]));
  write_set(set, path[1]);
  nk_vectors_free(set);
  assert_same_files(path[0], path[1]);
}

static void tensors_of_a_written_set_are_aligned(void **state) {
  set_paths(state);
  struct nk_vectors *set = small_set();
  write_set(set, path[0]);
  nk_vectors_free(set);
  struct nki_safetensors *st = nki_safetensors_open(path[0]);
  const unsigned char *start = nki_safetensors_file(st)->data;
  for (size_t i = 0; i < nki_safetensors_n_tensors(st); i++) {
    const struct nk_tensor *tensor = nki_safetensors_tensor(st, i);
    size_t at = (size_t)((const unsigned char *)tensor->data - start);
    assert_int_equal(at % nki_dtype_size(tensor->dtype), 0);
  }
  nki_safetensors_free(st);
}

static void the_only_matrix_of_a_foreign_file_is_the_set(void **state) {
  set_paths(state);
  static const uint16_t halves[6] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};
  unsigned char data[14] = {0xee, 0xee};
  memcpy(data + 2, halves, 12); /* not aligned to 4 */
  write_raw(path[0],
            "{\"flags\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
            "\"wte\":{\"dtype\":\"F16\",\"shape\":[3,2],\"data_offsets\":[2,14]}}",
            data, sizeof data);
  struct nk_vectors *set = nk_vectors_read(path[0]);
  assert_non_null(set);
  for (size_t i = 0; i < 6; i++) assert_true(set->values[i] == (float)(i + 1));
  assert_int_equal(set->ids[2], 2);
  nk_vectors_free(set);
}

static void the_only_row_of_a_foreign_file_is_the_set(void **state) {
  set_paths(state);
  static const float values[3] = {1, 2, 3};
  static const char *const headers[] = {
      "{\"steering\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}",
      "{\"vectors\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}",
  };
  for (size_t i = 0; i < 2; i++) {
    write_raw(path[0], headers[i], values, sizeof values);
    struct nk_vectors *set = nk_vectors_read(path[0]);
    assert_non_null(set);
    assert_int_equal(set->n, 1);
    assert_int_equal(set->dim, 3);
    assert_memory_equal(set->values, values, sizeof values);
    nk_vectors_free(set);
  }
}

/* A quantized layer's scales stand beside its matrix; they are kept when the set is written. */
static void tensors_of_unread_types_stay_beside_the_matrix(void **state) {
  set_paths(state);
  static const char header[] =
      "{\"w\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
      "\"scale\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,2],\"data_offsets\":[8,10]},"
      "\"packed\":{\"dtype\":\"F4\",\"shape\":[2,1],\"data_offsets\":[10,11]},"
      "\"odd\":{\"dtype\":\"Q7\",\"shape\":[5],\"data_offsets\":[11,14]}}";
  write_raw(path[0], header,
            "\0\0\x80\x3F\0\0\0\x40"
            "ab"
            "c"
            "def",
            14);
  struct nk_vectors *set = nk_vectors_read(path[0]);
  assert_non_null(set);
  assert_true(set->values[0] == 1 && set->values[1] == 2);
  struct nk_vectors *like = nk_vectors_like(set, 2, NULL);
  nk_vectors_free(set);
  assert_non_null(like);
  nk_vectors_writable(like)[0] = 0;
  write_set(like, path[1]);
  nk_vectors_free(like);
  struct nki_safetensors *st = nki_safetensors_open(path[1]);
  assert_memory_equal(nki_safetensors_find(st, "scale")->data, "ab", 2);
  assert_memory_equal(nki_safetensors_find(st, "packed")->data, "c", 1);
  assert_string_equal(nki_safetensors_find(st, "odd")->dtype_name, "Q7");
  assert_memory_equal(nki_safetensors_find(st, "odd")->data, "def", 3);
  nki_safetensors_free(st);
}

static void files_that_are_not_vector_sets_are_rejected(void **state) {
  set_paths(state);
  static const char two[] =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[4,8]}}";
  static const struct {
    const char *header;
    size_t n;
    const char *message;
  } cases[] = {
      {two, 8, "2 of 2 dimensions"},
      {"{}", 0, "no tensor 'vectors' and none"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "0 dimensions"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "dimension 0"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
       8, "2 of 1 dimension,"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[0,0]}}", 0,
       "dimension 0"},
      {"{\"vectors\":{\"dtype\":\"I32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}", 8, "type I32"},
      {"{\"__metadata__\":{\"noken.kind\":\"region\"}}", 0,
       "not a vector set (noken.kind is 'region')"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
       "\"id\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
       12, "tensor 'id': has 2 elements, expected 1 (the rows of the set)"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
       "\"id\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
       8, "expected integers"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
       "\"text.bytes\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}",
       5, "one of the tensors 'text.bytes' and 'text.offsets' is missing"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
       "\"text.offsets\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[5,21]},"
       "\"text.bytes\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}",
       21, "does not ascend from 0 to the 1 bytes"},
      {"{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
       "\"text.more\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
       8, "cannot be called 'text.more'"},
  };
  static const char zeros[32];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_raw(path[0], cases[i].header, zeros, cases[i].n);
    assert_null(nk_vectors_read(path[0]));
    if (strstr(nk_error(), cases[i].message) == NULL || strstr(nk_error(), "a.safetensors") == NULL)
      fail_msg("'%s' instead of '%s'", nk_error(), cases[i].message);
  }
}

static void a_set_without_rows_is_written_and_read(void **state) {
  set_paths(state);
  struct nk_vectors *set = nk_vectors_new(0, 5, NULL, false);
  assert_non_null(set);
  assert_int_equal(nk_vectors_check_finite(&set, false), NK_OK);
  write_set(set, path[0]);
  nk_vectors_free(set);
  assert_non_null(set = nk_vectors_read(path[0]));
  assert_int_equal(set->n, 0);
  assert_int_equal(set->dim, 5);
  nk_vectors_free(set);
}

/* ---- Growth ---- */

/* Processor time of one call in seconds, the least of three. */
static double time_of(void (*call)(size_t n), size_t n) {
  double least = INFINITY;
  for (int i = 0; i < 3; i++) {
    clock_t start = clock();
    call(n);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds < least) least = seconds;
  }
  return least;
}

/* Four times the size takes four times as long, or sixteen times where the work is quadratic. */
static void assert_linear(const char *what, void (*call)(size_t n), size_t n) {
  double small = time_of(call, n), large = time_of(call, 4 * n);
  print_message("[          ] %s: %zu in %.4f s, %zu in %.4f s\n", what, n, small, 4 * n, large);
  if (large > 9 * small + 0.01) fail_msg("%s: %.4f s, then %.4f s", what, small, large);
}

static void write_wide_table(size_t dim) {
  struct nk_vectors *set = nk_vectors_new(1, dim, NULL, false);
  float *values = nk_vectors_writable(set);
  for (size_t i = 0; i < dim; i++) values[i] = (float)i;
  struct nk_output *output = nk_output_open(path[0], NK_OUTPUT_TEXT);
  struct cli_table *table = cli_table_new(output, CLI_TABLE_TSV);
  assert_int_equal(cli_write_vectors(set, table), NK_OK);
  assert_int_equal(cli_table_finish(table), NK_OK);
  nk_output_free(output);
  nk_vectors_free(set);
}

static void copy_many_columns(size_t n) {
  struct nk_buffer header = {0};
  nk_buffer_printf(&header,
                   "{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}");
  for (size_t i = 1; i <= n; i++)
    nk_buffer_printf(&header,
                     ",\"c%zu\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}", i,
                     4 * i, 4 * i + 4);
  nk_buffer_byte(&header, '}');
  uint64_t length = header.size;
  unsigned char *bytes = calloc(8 + header.size + 4 * (n + 1), 1);
  memcpy(bytes, &length, 8);
  memcpy(bytes + 8, header.data, header.size);
  write_bytes(path[0], bytes, 8 + header.size + 4 * (n + 1));
  free(bytes);
  nk_buffer_free(&header);
  struct nk_vectors *set = nk_vectors_read(path[0]), *like;
  assert_non_null(set);
  assert_int_equal(set->n_columns, n);
  assert_non_null(like = nk_vectors_like(set, 1, NULL));
  nk_vectors_free(like);
  nk_vectors_free(set);
}

static void time_grows_with_the_size_of_a_set(void **state) {
  set_paths(state);
  assert_linear("columns of a file", copy_many_columns, 20000);
  assert_linear("values of a row in a table", write_wide_table, 32768);
}

static void a_set_without_rows_has_no_endless_header(void **state) {
  set_paths(state);
  write_raw(path[0],
            "{\"vectors\":{\"dtype\":\"F32\",\"shape\":[0,1000000000],\"data_offsets\":[0,0]}}",
            NULL, 0);
  struct nk_vectors *set = nk_vectors_read(path[0]);
  assert_non_null(set);
  struct nk_output *output = nk_output_open(path[1], NK_OUTPUT_TEXT);
  struct cli_table *table = cli_table_new(output, CLI_TABLE_TSV);
  assert_int_equal(cli_write_vectors(set, table), NK_EDATA);
  assert_string_equal(nk_error(), "0 rows of 1000000000 values: too many columns for a table");
  cli_table_free(table);
  nk_output_free(output);
  nk_vectors_free(set);
}

/* ---- Rows ---- */

static void selected_rows_keep_text_columns_and_metadata(void **state) {
  (void)state;
  struct nk_vectors *set = small_set(), *chosen;
  static const size_t rows[3] = {2, 0, 2};
  assert_non_null(chosen = nki_vectors_select(set, rows, 3));
  size_t n;
  assert_int_equal(chosen->ids[0], 2);
  assert_true(chosen->values[0] == 5 && chosen->values[2] == 1 && chosen->values[5] == 6);
  assert_memory_equal(nk_vectors_text(chosen, 2, &n), "\xff\n\"", 3);
  assert_int_equal(n, 3);
  assert_true(nk_vectors_column(chosen, "distance")->data.number[1] == 0.5);
  assert_int_equal(nk_vectors_column(chosen, "rank")->data.integer[0], 7);
  assert_string_equal(nk_vectors_metadata(chosen, "noken.model"), "a \"model\"\n");
  nk_vectors_free(chosen);
  nk_vectors_free(set);
}

static void count_warning(const char *message, void *user) {
  if (strstr(message, "2 of 3 rows") != NULL && strstr(message, "row 0") != NULL) ++*(int *)user;
}

static void rows_that_are_not_finite_are_an_error_or_left_out(void **state) {
  set_paths(state);
  struct nk_vectors *set = small_set();
  assert_int_equal(nk_vectors_check_finite(&set, false), NK_OK);
  nk_vectors_writable(set)[3] = NAN;
  assert_int_equal(nk_vectors_check_finite(&set, false), NK_EDATA);
  assert_string_equal(nk_error(), "row 1 holds a NaN");
  nk_vectors_writable(set)[0] = -INFINITY;
  write_set(set, path[0]);
  nk_vectors_free(set);
  assert_non_null(set = nk_vectors_read(path[0]));
  assert_int_equal(nk_vectors_check_finite(&set, false), NK_EDATA);
  assert_non_null(strstr(nk_error(), "a.safetensors: row 0 holds an infinity"));
  int warned = 0;
  nk_on_warning(count_warning, &warned);
  assert_int_equal(nk_vectors_check_finite(&set, true), NK_OK);
  nk_on_warning(NULL, NULL);
  assert_int_equal(warned, 1);
  assert_int_equal(set->n, 1);
  assert_int_equal(set->ids[0], 2);
  nk_vectors_free(set);
}

static void a_set_like_another_has_all_but_its_values(void **state) {
  (void)state;
  struct nk_vectors *set = small_set(), *like;
  float *values = nk_calloc(3 * 4, sizeof *values);
  assert_non_null(like = nk_vectors_like(set, 4, values));
  nk_vectors_free(set);
  assert_int_equal(like->dim, 4);
  assert_int_equal(nk_vectors_column(like, "rank")->data.integer[2], 7);
  nk_vectors_free(like);
}

/* ---- History ---- */

static void the_history_holds_shell_command_lines_without_directories(void **state) {
  char folder[256], argument[300], expected[512];
  const char *reference, *prompt, *quantile, *shard;
  const struct cli_option options[] = {
      {0, "reference", CLI_OPTION_STRING, &reference, "FILE", "", 0, NULL},
      {'p', "prompt", CLI_OPTION_STRING, &prompt, "TEXT", "", 0, NULL},
      {0, "quantile", CLI_OPTION_STRING, &quantile, "LIST", "", 0, NULL},
      {0, "shard", CLI_OPTION_STRING, &shard, "I/N", "", 0, NULL},
  };
  const struct cli_tool tool = {"nk-run", "", "", options, 4, NULL};
  snprintf(folder, sizeof folder, "%s/sub dir", (char *)*state);
  assert_int_equal(mkdir(folder, 0777), 0);
  snprintf(argument, sizeof argument, "%s/in file.npy", folder);
  char *first[] = {"/usr/bin/nk-run", argument, "--reference=./x/wte.safetensors",
                   "-o/tmp/out.tsv",  "-qo",    "x",
                   "--threads=4"};
  char *second[] = {"nk-run",  "--threads",       "8",   "openai-community/gpt2",
                    "-p",      "yes/no? it's {}", "",    "a\tb",
                    "--quant", "0.5,0.9",         "-p",  "-or {}",
                    "-p-o",    "--shard",         "1/2", "--sh=2/2",
                    "--",      "-output/x"};
  struct nk_vectors *set = small_set();
  assert_int_equal(cli_add_history(set, &tool, 7, first), 0);
  assert_int_equal(cli_add_history(set, &tool, 18, second), 0);
  snprintf(expected, sizeof expected, "%s",
           "[\"nk-run 'in file.npy' --reference=wte.safetensors -q\","
           "\"nk-run openai-community/gpt2 -p 'yes/no? it'\\\\''s {}' '' $'a\\\\tb' "
           "--quant 0.5,0.9 -p '-or {}' -p-o -- -output/x\"]");
  assert_string_equal(nk_vectors_metadata(set, "noken.history"), expected);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.history", "[1"), NK_OK);
  assert_int_equal(cli_add_history(set, &tool, 1, first), NK_EDATA);
  assert_non_null(strstr(nk_error(), "noken.history: line 1, column"));
  nk_vectors_free(set);
}

/* data/gpt2-tiny: tensor, ids and texts as model.safetensors and tokenizer.json hold them. */
static void a_models_matrix_is_a_set_with_its_tokens_texts(void **state) {
  (void)state;
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  struct nk_vectors *set = nk_model_vectors(model, NK_MATRIX_INPUT);
  assert_non_null(set);
  const struct nk_tensor *wte = nk_model_find(model, "wte.weight");
  assert_non_null(wte);
  assert_int_equal(set->n, wte->shape[0]);
  assert_int_equal(set->dim, wte->shape[1]);
  float *rows = malloc(set->n * set->dim * sizeof *rows);
  assert_int_equal(nk_model_rows(wte, 0, set->n, rows), NK_OK);
  assert_memory_equal(set->values, rows, set->n * set->dim * sizeof *rows);
  free(rows);
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(model);
  int64_t id = nk_tokenizer_id(tokenizer, " the", 4);
  assert_true(id > 0);
  assert_int_equal(set->ids[id], id);
  size_t n;
  const char *text = nk_vectors_text(set, (size_t)id, &n);
  assert_int_equal(n, 4);
  assert_memory_equal(text, " the", 4);
  assert_string_equal(nk_vectors_metadata(set, "noken.space"), "input");
  assert_string_equal(nk_vectors_metadata(set, "noken.model"), "gpt2-tiny");
  nk_vectors_free(set);
  set = nk_model_vectors(model, NK_MATRIX_POSITION);
  assert_non_null(set);
  assert_null(set->text_offsets);
  nk_vectors_free(set);
  nk_model_free(model);
}

/* F32 rows are not copied; the fixture has no tokenizer. */
static void rows_of_floats_are_the_models_own_bytes(void **state) {
  (void)state;
  struct nk_model *model = nk_model_open("tests/fixtures/forward/gpt2");
  struct nk_vectors *set = nk_model_vectors(model, NK_MATRIX_INPUT);
  assert_non_null(set);
  assert_ptr_equal(set->values, nk_model_find(model, "wte.weight")->data);
  assert_null(nk_vectors_writable(set));
  assert_null(set->text_offsets);
  nk_vectors_free(set);
  nk_model_free(model);
}

static void a_chain_of_calls_keeps_the_first_error(void **state) {
  (void)state;
  struct nk_model *model = nk_model_open("no/such/model!");
  assert_null(model);
  char message[256];
  snprintf(message, sizeof message, "%s", nk_error());
  int code = nk_error_code();
  struct nk_vectors *set = nk_model_vectors(model, NK_MATRIX_INPUT);
  assert_null(set);
  assert_null(nk_vectors_select_ids(set, NULL, 0));
  assert_null(nk_vectors_like(set, 3, NULL));
  assert_int_equal(nk_vectors_check_finite(&set, true), code);
  assert_int_equal(nk_vectors_set_metadata(set, "a", "b"), code);
  struct nk_output *output = nk_output_open("/dev/null", NK_OUTPUT_BINARY);
  assert_int_equal(nk_vectors_write(set, output), code);
  assert_int_equal(nk_convert(set, NK_FORMAT_NPY, output), code);
  nk_output_free(output);
  assert_int_equal(nk_output_commit(NULL), code);
  assert_string_equal(nk_error(), message);
}

static int convert(const struct nk_vectors *set, enum nk_format format) {
  struct nk_output *output = nk_output_open(path[1], NK_OUTPUT_BINARY);
  assert_non_null(output);
  int code = nk_convert(set, format, output);
  nk_output_free(output);
  return code;
}

static void a_set_without_values_is_refused_where_values_are_needed(void **state) {
  set_paths(state);
  enum { N = 40, DIM = 3 };
  static float values[N * DIM];
  for (size_t i = 0; i < N * DIM; i++) values[i] = (float)((i * 7919) % 101) / 100;
  struct nk_vectors *full = nk_vectors_new(N, DIM, values, true), *other;
  struct nk_vectors *set = nk_vectors_new(N, DIM, NULL, true);
  struct nk_region *region = nk_region_fit(full, NULL, 0, NULL);
  struct nk_set_test result;
  const struct nk_glitch_options glitch = {0};
  const double radius = 1;
  const struct nk_sample_options sample = {.measure = NK_MEASURE_RADIUS,
                                           .distances = &radius,
                                           .n_distances = 1,
                                           .origin = NK_ORIGIN_SET,
                                           .set = set};
  assert_true(full != NULL && set != NULL && region != NULL);
  for (int format = 0; format < NK_N_FORMATS; format++)
    assert_int_equal(convert(set, (enum nk_format)format),
                     format == NK_FORMAT_PROJECTOR_METADATA ? NK_OK : NK_EUSAGE);
  for (int skip = 0; skip < 2; skip++) {
    other = set;
    assert_int_equal(nk_vectors_check_finite(&other, skip != 0), NK_EUSAGE);
    assert_ptr_equal(other, set);
  }
  assert_int_equal(nk_region_test(region, set, NULL, &result), NK_EUSAGE);
#define REFUSED(call)                             \
  do {                                            \
    nk_fail(NK_EDATA, "an error of before");      \
    assert_null(call);                            \
    assert_int_equal(nk_error_code(), NK_EUSAGE); \
  } while (0)
  REFUSED(nk_vectors_select_ids(set, (const int64_t[]){3}, 1));
  REFUSED(nk_region_fit(set, NULL, 0, NULL));
  REFUSED(nk_sample(region, &sample));
  REFUSED(nk_sample_match(region, set, 1, 0));
  REFUSED(nk_glitch_of_sets(set, NULL, NULL, 0, &glitch));
#undef REFUSED
  other = nk_vectors_select_ids(set, NULL, 0);
  assert_non_null(other);
  nk_vectors_free(other);

  /* As a part of another set too. */
  const struct nk_vectors *parts[] = {full, set};
  struct nk_vectors *joined = nk_vectors_new(2 * N, DIM, NULL, true);
  assert_non_null(joined);
  joined->parts = parts;
  joined->n_parts = 2;
  struct nk_output *output = nk_output_open(path[1], NK_OUTPUT_BINARY);
  assert_int_equal(nk_vectors_write(joined, output), NK_EUSAGE);
  assert_int_equal(nk_vectors_write(set, output), NK_EUSAGE);
  nk_output_free(output);
  nk_vectors_free(joined);
  nk_region_free(region);
  nk_vectors_free(full);
  nk_vectors_free(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_set_comes_back_as_it_was_written),
      cmocka_unit_test(unknown_tensors_and_metadata_are_written_back_unchanged),
      cmocka_unit_test(tensors_of_a_written_set_are_aligned),
      cmocka_unit_test(the_only_matrix_of_a_foreign_file_is_the_set),
      cmocka_unit_test(the_only_row_of_a_foreign_file_is_the_set),
      cmocka_unit_test(tensors_of_unread_types_stay_beside_the_matrix),
      cmocka_unit_test(files_that_are_not_vector_sets_are_rejected),
      cmocka_unit_test(time_grows_with_the_size_of_a_set),
      cmocka_unit_test(a_set_without_rows_has_no_endless_header),
      cmocka_unit_test(a_set_without_rows_is_written_and_read),
      cmocka_unit_test(selected_rows_keep_text_columns_and_metadata),
      cmocka_unit_test(rows_that_are_not_finite_are_an_error_or_left_out),
      cmocka_unit_test(a_set_without_values_is_refused_where_values_are_needed),
      cmocka_unit_test(a_set_like_another_has_all_but_its_values),
      cmocka_unit_test(a_models_matrix_is_a_set_with_its_tokens_texts),
      cmocka_unit_test(rows_of_floats_are_the_models_own_bytes),
      cmocka_unit_test(a_chain_of_calls_keeps_the_first_error),
      cmocka_unit_test(the_history_holds_shell_command_lines_without_directories),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
