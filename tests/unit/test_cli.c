/* What the tools share: tables written and read, command lines, hints, other programs. */
#include "unit.h"

#include <malloc.h>
#include <math.h>
#include <sys/wait.h>
#include <time.h>
#include "cli/process.h"
#include "cli/tool.h"

/* ---- Tables ---- */

static struct cli_frame *frame_of(const char *folder, const char *bytes, size_t n) {
  char path[512];
  snprintf(path, sizeof path, "%s/table", folder);
  write_bytes(path, bytes, n);
  return cli_frame_read(path);
}

static void write_example(const char *path, enum cli_table_format format) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_TEXT);
  struct cli_table *table = cli_table_new(output, format);
  assert_int_equal(cli_table_column(table, "id"), NK_OK);
  assert_int_equal(cli_table_column(table, "text"), NK_OK);
  assert_int_equal(cli_table_column(table, "score"), NK_OK);
  assert_int_equal(cli_table_column(table, "id"), NK_EDATA);
  static const char *texts[] = {" a\tb\"", "\xC0\\", ""};
  static const double scores[] = {0.25, NAN, -INFINITY};
  for (int i = 0; i < 3; i++) {
    cli_table_integer(table, i);
    cli_table_string(table, texts[i]);
    cli_table_number(table, scores[i]); /* a NaN is a missing value */
    assert_int_equal(cli_table_end_row(table), NK_OK);
  }
  assert_int_equal(cli_table_finish(table), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
}

static void a_table_reads_back_the_same_from_tsv_and_json(void **state) {
  const char *folder = *state;
  char path[512];
  snprintf(path, sizeof path, "%s/example", folder);
  for (int format = 0; format < 2; format++) {
    write_example(path, format ? CLI_TABLE_JSON : CLI_TABLE_TSV);
    struct cli_frame *frame = cli_frame_read(path);
    assert_non_null(frame);
    assert_int_equal(cli_frame_n_rows(frame), 3);
    assert_int_equal(cli_frame_n_columns(frame), 3);
    assert_string_equal(cli_frame_cell(frame, 0, 1), " a\\tb\\x22");
    assert_string_equal(cli_frame_cell(frame, 1, 1), "\\xC0\\x5C");
    double score;
    int64_t id;
    assert_int_equal(cli_frame_number(frame, 0, 2, &score), NK_OK);
    assert_true(score == 0.25);
    assert_int_equal(cli_frame_number(frame, 1, 2, &score), NK_ENOTFOUND);
    assert_int_equal(cli_frame_number(frame, 2, 2, &score), NK_OK);
    assert_true(score == -INFINITY);
    assert_int_equal(cli_frame_integer(frame, 2, 0, &id), NK_OK);
    assert_int_equal(id, 2);
    assert_int_equal(cli_frame_column(frame, "score"), 2);
    assert_int_equal(cli_frame_find(frame, "score"), 2);
    assert_int_equal(cli_frame_find(frame, "norm"), -1);
    assert_int_equal(cli_frame_column(frame, "norm"), NK_ENOTFOUND);
    assert_non_null(strstr(nk_error(), "the columns are: id text score"));
    cli_frame_free(frame);
  }
}

/* Copies the columns a, b and text of a table to JSON Lines or a TSV. */
static void copy_table(const char *folder, const char *bytes, enum cli_table_format format,
                       char *out, size_t size) {
  char path[512];
  struct cli_frame *frame = frame_of(folder, bytes, strlen(bytes));
  assert_non_null(frame);
  bool *number = cli_frame_number_columns(frame);
  snprintf(path, sizeof path, "%s/copy", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_TEXT);
  struct cli_table *table = cli_table_new(output, format);
  for (size_t c = 0; c < cli_frame_n_columns(frame); c++)
    assert_int_equal(cli_table_column(table, cli_frame_column_name(frame, c)), NK_OK);
  for (size_t row = 0; row < cli_frame_n_rows(frame); row++) {
    for (size_t c = 0; c < cli_frame_n_columns(frame); c++)
      cli_table_copy(table, cli_frame_cell(frame, row, c), number[c]);
    assert_int_equal(cli_table_end_row(table), NK_OK);
  }
  assert_int_equal(cli_table_finish(table), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_free(number);
  cli_frame_free(frame);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  out[fread(out, 1, size - 1, file)] = 0;
  fclose(file);
}

static void copied_cells_keep_their_characters(void **state) {
  static const char cells[] =
      "a\tb\ttext\n"
      "1234567890123\t007\t1\n"
      "0.10\t infinity\tnan\n"
      "NA\t1e5\tx\\x22\\n\n"
      "-inf\t\t\\x4EA\n"
      "-1.5E-07\tNA\t\n";
  static const char json[] =
      "{\"a\":1234567890123,\"b\":\"007\",\"text\":\"1\"}\n"
      "{\"a\":0.10,\"b\":\" infinity\",\"text\":\"nan\"}\n"
      "{\"b\":\"1e5\",\"text\":\"x\\\\x22\\\\n\"}\n"
      "{\"a\":\"-inf\",\"text\":\"\\\\x4EA\"}\n"
      "{\"a\":-1.5E-07,\"b\":\"NA\"}\n";
  char out[1024];
  copy_table(*state, cells, CLI_TABLE_TSV, out, sizeof out);
  assert_string_equal(out, cells);
  copy_table(*state, cells, CLI_TABLE_JSON, out, sizeof out);
  assert_string_equal(out, json);
  copy_table(*state, "a\n1.\n", CLI_TABLE_JSON, out, sizeof out); /* not JSON's numbers */
  assert_string_equal(out, "{\"a\":\"1.\"}\n");
  copy_table(*state, "a\n+1\n", CLI_TABLE_JSON, out, sizeof out);
  assert_string_equal(out, "{\"a\":\"+1\"}\n");
  copy_table(*state, "a\n\x1b[2J\xff\"\n", CLI_TABLE_TSV, out, sizeof out); /* not printable */
  assert_string_equal(out, "a\n\\x1B[2J\\xFF\\x22\n");
}

static void a_row_has_a_cell_for_each_column(void **state) {
  const char *folder = *state;
  char path[512];
  snprintf(path, sizeof path, "%s/rows", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_TEXT);
  struct cli_table *table = cli_table_new(output, CLI_TABLE_TSV);
  assert_int_equal(cli_table_column(table, "a"), NK_OK);
  assert_int_equal(cli_table_column(table, "b"), NK_OK);
  cli_table_integer(table, 1);
  assert_int_equal(cli_table_column(table, "c"), NK_EUSAGE);
  assert_int_equal(cli_table_end_row(table), NK_EUSAGE);
  cli_table_free(table);
  nk_output_free(output);
}

static void a_header_alone_is_a_table_without_rows(void **state) {
  struct cli_frame *frame = frame_of(*state, "id\ttext", 7);
  assert_non_null(frame);
  assert_int_equal(cli_frame_n_rows(frame), NK_OK);
  assert_int_equal(cli_frame_n_columns(frame), 2);
  cli_frame_free(frame);
}

static void the_error_of_a_damaged_table_names_the_line(void **state) {
  static const struct {
    const char *bytes;
    const char *message;
  } cases[] = {
      {"", "empty"},
      {"id\ttext\n1\ta\n2\n", "line 3 has 1 cells, the header has 2"},
      {"id\tid\n", "duplicate column 'id'"},
      {"{\"id\": 1}\n{\"id\": }\n", "line 2, column"},
      {"{\"id\": 1}\n[1]\n", "line 2, column 1: not a JSON object"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_null(frame_of(*state, cases[i].bytes, strlen(cases[i].bytes)));
    assert_non_null(strstr(nk_error(), cases[i].message));
  }
  assert_null(frame_of(*state, "id\n\0\n", 5));
  assert_non_null(strstr(nk_error(), "zero byte"));
}

static void lines_can_end_in_cr_lf(void **state) {
  struct cli_frame *frame = frame_of(*state, "id\tx\r\n1\t2.5\r\n", 13);
  double x;
  assert_non_null(frame);
  assert_int_equal(cli_frame_number(frame, 0, 1, &x), NK_OK);
  assert_true(x == 2.5);
  cli_frame_free(frame);
}

/* pandas, R and Excel write such tables: a byte order mark, CR LF, 300.0 for an id of a column with
 * missing values, words for what is missing. */
static void tables_of_other_programs_are_read(void **state) {
  static const char bytes[] =
      "\xEF\xBB\xBFid\tx\r\n300.0\t0.5\r\n3e2\tNA\r\nNaN\tNaN\r\nnull\tnull\r\nnan\tnan\r\n"
      "0.5\tNone\r\n1e300\t<NA>\r\n\tx\r\n";
  static const int id_code[] = {NK_OK,        NK_OK,    NK_ENOTFOUND, NK_ENOTFOUND,
                                NK_ENOTFOUND, NK_EDATA, NK_EDATA,     NK_ENOTFOUND};
  static const int x_code[] = {NK_OK,        NK_ENOTFOUND, NK_ENOTFOUND, NK_ENOTFOUND,
                               NK_ENOTFOUND, NK_ENOTFOUND, NK_ENOTFOUND, NK_EDATA};
  struct cli_frame *frame = frame_of(*state, bytes, sizeof bytes - 1);
  assert_non_null(frame);
  assert_int_equal(cli_frame_n_rows(frame), 8);
  assert_int_equal(cli_frame_find(frame, "id"), 0);
  for (size_t row = 0; row < 8; row++) {
    int64_t id = 0;
    double x = 0;
    assert_int_equal(cli_frame_integer(frame, row, 0, &id), id_code[row]);
    if (id_code[row] == NK_OK) assert_int_equal(id, 300);
    assert_int_equal(cli_frame_number(frame, row, 1, &x), x_code[row]);
  }
  cli_frame_free(frame);
}

/* Python's json.dumps writes NaN and Infinity, and whole numbers of any length. */
static void json_lines_of_python_are_read(void **state) {
  static const char bytes[] =
      "\xEF\xBB\xBF{\"id\": 1, \"x\": NaN, \"text\": \"NaN \\\" Infinity\"}\r\n"
      "{\"id\": 2.0, \"x\": Infinity, \"y\": [NaN, -Infinity]}\n\n"
      "{\"x\": -Infinity, \"id\": 3, \"big\": 18446744073709551616, \"text\": \"a\\u0000b\"}\n";
  struct cli_frame *frame = frame_of(*state, bytes, sizeof bytes - 1);
  int64_t id;
  double x;
  assert_non_null(frame);
  assert_int_equal(cli_frame_n_rows(frame), 3);
  assert_int_equal(cli_frame_n_columns(frame), 5);
  assert_int_equal(cli_frame_number(frame, 0, 1, &x), NK_ENOTFOUND);
  assert_string_equal(cli_frame_cell(frame, 0, 2), "NaN \" Infinity");
  assert_int_equal(cli_frame_integer(frame, 1, 0, &id), NK_OK);
  assert_int_equal(id, 2);
  assert_int_equal(cli_frame_number(frame, 1, 1, &x), NK_OK);
  assert_true(x == INFINITY);
  assert_string_equal(cli_frame_cell(frame, 1, 2), "");
  assert_int_equal(cli_frame_number(frame, 2, 1, &x), NK_OK);
  assert_true(x == -INFINITY);
  assert_string_equal(cli_frame_cell(frame, 2, 2), "a\\x00b");
  assert_int_equal(cli_frame_number(frame, 2, (size_t)cli_frame_find(frame, "big"), &x), NK_OK);
  assert_true(x == 18446744073709551616.0);
  cli_frame_free(frame);
}

static void what_is_no_table_is_named(void **state) {
  assert_null(frame_of(*state, "\xFF\xFEi\0d\0", 6));
  assert_non_null(strstr(nk_error(), "a UTF-16 file, expected UTF-8"));
  assert_null(frame_of(*state, "[{\"id\":1}]", 10));
  assert_non_null(strstr(nk_error(), "a JSON array, expected JSON Lines"));
}

/* The words are those of pandas' and R's manuals and of agate (csvkit). */
static void texts_are_escaped_for_the_readers_of_other_programs(void **state) {
  (void)state;
  static const struct {
    const char *text, *cell;
  } cases[] = {
      {"\"", "\\x22"},
      {"a\"b\"", "a\\x22b\\x22"},
      {"null", "\\x6Eull"},
      {"NA", "\\x4EA"},
      {"nan", "\\x6Ean"},
      {"None", "\\x4Eone"},
      {"n/a", "\\x6E/a"},
      {"-NaN", "\\x2DNaN"},
      {"<NA>", "\\x3CNA>"},
      {"#N/A N/A", "\\x23N/A N/A"},
      {"1.#IND", "\\x31.#IND"},
      {".", "\\x2E"},
      {" null ", "\\x20null "},
      {" ", "\\x20"},
      {"   ", "\\x20  "},
      {"\xC2\xA0", "\\xC2\\xA0"},
      {"\xE3\x80\x80 ", "\\xE3\\x80\\x80 "},
      {"", ""},
      {"nulls", "nulls"},
      {"nan a", "nan a"},
      {"'", "'"},
      {"\\x22", "\\x5Cx22"},
      {"\t\"\n", "\\t\\x22\\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nk_buffer cell = {0}, text = {0};
    cli_escape_cell(&cell, cases[i].text, strlen(cases[i].text));
    assert_string_equal(cell.size > 0 ? cell.data : "", cases[i].cell);
    nk_unescape(&text, cases[i].cell, strlen(cases[i].cell));
    assert_string_equal(text.size > 0 ? text.data : "", cases[i].text);
    nk_buffer_free(&cell);
    nk_buffer_free(&text);
  }
}

/* ---- Time and memory ---- */

#if defined(__SANITIZE_ADDRESS__) /* has an allocator of its own; the fuzzer bounds memory there */
enum { HAS_MALLINFO = 0 };
#else
enum { HAS_MALLINFO = 1 };
#endif

/* A TSV of n columns, and JSON Lines of n rows, each with a key of its own. */
static void append_wide(struct nk_buffer *out, size_t n) {
  for (size_t i = 0; i < n; i++) nk_buffer_printf(out, "column%zu%s", i, i + 1 < n ? "\t" : "\n");
  for (size_t i = 0; i < n; i++) nk_buffer_text(out, i + 1 < n ? "1\t" : "1\n");
}

static void append_keys(struct nk_buffer *out, size_t n) {
  for (size_t i = 0; i < n; i++) nk_buffer_printf(out, "{\"id\":%zu,\"key%zu\":1}\n", i, i);
}

/* Seconds of processor time to read a table of size n, and the bytes that it keeps. */
static double cost(const char *folder, void (*append)(struct nk_buffer *, size_t), size_t n,
                   double *bytes) {
  struct nk_buffer text = {0};
  append(&text, n);
  size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  clock_t begin = clock();
  struct cli_frame *frame = frame_of(folder, text.data, text.size);
  double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
  *bytes = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before);
  assert_non_null(frame);
  assert_true(cli_frame_n_columns(frame) >= n);
  cli_frame_free(frame);
  nk_buffer_free(&text);
  return seconds;
}

/* Of eight times the size: 64 times as much where growth is quadratic. */
static void time_and_memory_grow_as_the_table_does(void **state) {
  static void (*const append[])(struct nk_buffer *, size_t) = {append_wide, append_keys};
  for (int i = 0; i < 2; i++) {
    double few_bytes, many_bytes;
    double few = cost(*state, append[i], 10000, &few_bytes);
    double many = cost(*state, append[i], 80000, &many_bytes);
    assert_true(many < 24 * few + 0.2);
    if (HAS_MALLINFO) assert_true(many_bytes < 16 * few_bytes);
  }
}

/* ---- Options ---- */

struct settings {
  bool flag;
  const char *name;
  size_t n, rows;
  double level;
  struct cli_strings prompts;
  int metric;
};

static int parse(struct settings *s, struct cli_common *common, size_t *n_operands, int argc,
                 char **argv) {
  const struct cli_option options[] = {
      {0, "flag", CLI_OPTION_FLAG, &s->flag, NULL, "a flag"},
      {'m', "model-name", CLI_OPTION_STRING, &s->name, "NAME", "a name"},
      {'n', NULL, CLI_OPTION_SIZE, &s->n, "N", "a number", .most = 9},
      {0, "level", CLI_OPTION_NUMBER, &s->level, "X", "a level"},
      {'p', "prompt", CLI_OPTION_LIST, &s->prompts, "TEXT", "a prompt"},
      {0, "metric", CLI_OPTION_CHOICE, &s->metric, "l2|cosine", "a metric"},
      {0, "rows", CLI_OPTION_SIZE, &s->rows, "N", "a number of rows"},
  };
  const struct cli_tool tool = {"nk-test", "tests", "[FILE]", options, 7, NULL};
  char **operands;
  *common = (struct cli_common){0};
  int code = cli_options_parse(&tool, common, argc, argv, &operands, n_operands);
  nk_free(operands);
  return code;
}

static void options_are_read_in_every_spelling(void **state) {
  (void)state;
  struct settings s = {0};
  struct cli_common common;
  size_t n;
  char *argv[] = {"nk-test",
                  "a",
                  "--fl",
                  "-mX",
                  "-n",
                  "3",
                  "--level=0.5",
                  "-p",
                  "q",
                  "-p",
                  "--",
                  "--metric",
                  "cosine",
                  "-qo",
                  "out",
                  "--seed",
                  "18446744073709551615",
                  "-",
                  "--",
                  "-b"};
  assert_int_equal(parse(&s, &common, &n, 20, argv), NK_OK);
  assert_int_equal(n, 3);
  assert_true(s.flag && common.quiet);
  assert_string_equal(s.name, "X");
  assert_int_equal(s.n, 3);
  assert_true(s.level == 0.5);
  assert_int_equal(s.prompts.n, 2);
  assert_string_equal(s.prompts.item[1], "--");
  assert_int_equal(s.metric, 1);
  assert_string_equal(common.output, "out");
  assert_true(common.seed == UINT64_MAX);
  cli_strings_free(&s.prompts);
}

static void options_without_a_meaning_are_usage_errors(void **state) {
  (void)state;
  static char *cases[][3] = {
      {"--nothing", NULL, "unknown option '--nothing'"},
      {"-x", NULL, "unknown option '-x'"},
      {"--level", NULL, "needs a value"},
      {"--level", "nan", "not a finite number"},
      {"-n", "-3", "not a whole number"},
      {"-n", "99999999999999999999", "not a whole number"},
      {"-n", "1000000000000000000", "option -n: 1000000000000000000 is too large: the limit is 9"},
      {"-n", "10", "option -n: 10 is too large: the limit is 9"},
      {"--threads", "1000000000000000000", "too large: the limit is 1024"},
      {"--rows", "4294967296", "option --rows: 4294967296 is too large: the limit is 16777216"},
      {"--flag=1", NULL, "takes no value"},
      {"--metric", "l3", "'l3' is not one of l2|cosine"},
      {"--", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct settings s = {0};
    struct cli_common common;
    size_t n;
    char *argv[] = {"nk-test", cases[i][0], cases[i][1]};
    int code = parse(&s, &common, &n, cases[i][1] != NULL ? 3 : 2, argv);
    assert_int_equal(code, cases[i][2] != NULL ? NK_EUSAGE : NK_OK);
    if (cases[i][2] != NULL) assert_non_null(strstr(nk_error(), cases[i][2]));
  }
}

static void the_whole_name_of_an_option_is_not_ambiguous(void **state) {
  (void)state;
  const char *by = NULL, *label = NULL;
  const struct cli_option options[] = {
      {0, "label-by", CLI_OPTION_STRING, &by, "COL", "a longer name"},
      {0, "label-column", CLI_OPTION_STRING, &by, "COL", "another one"},
      {0, "label", CLI_OPTION_STRING, &label, "K", "the name itself"},
  };
  const struct cli_tool tool = {"nk-test", "tests", "[FILE]", options, 3, NULL};
  struct cli_common common = {0};
  char *whole[] = {"nk-test", "--label", "7"}, *prefix[] = {"nk-test", "--lab", "7"}, **operands;
  size_t n;
  assert_int_equal(cli_options_parse(&tool, &common, 3, whole, &operands, &n), NK_OK);
  nk_free(operands);
  assert_string_equal(label, "7");
  assert_null(by);
  assert_int_equal(cli_options_parse(&tool, &common, 3, prefix, &operands, &n), NK_EUSAGE);
  nk_free(operands);
  assert_non_null(strstr(nk_error(), "ambiguous option '--lab': --label-by or --label-column"));
}

static void lists_of_numbers_and_ids_are_read(void **state) {
  (void)state;
  double *numbers;
  int64_t *ids;
  size_t n;
  assert_int_equal(cli_parse_numbers("--quantile", "0.5,0.9,1e-3", &numbers, &n), NK_OK);
  assert_int_equal(n, 3);
  assert_true(numbers[2] == 1e-3);
  nk_free(numbers);
  assert_int_equal(cli_parse_ids("--ids", "7,10-12", &ids, &n), NK_OK);
  assert_int_equal(n, 4);
  assert_int_equal(ids[3], 12);
  nk_free(ids);
  assert_int_equal(cli_parse_ids("--ids", "12-10", &ids, &n), NK_EUSAGE);
  assert_int_equal(cli_parse_ids("--ids", "0-99999999999", &ids, &n), NK_EUSAGE);
  assert_int_equal(cli_parse_ids("--ids", "1,,2", &ids, &n), NK_EUSAGE);
  assert_int_equal(cli_parse_numbers("--distance", "1,x", &numbers, &n), NK_EUSAGE);
  assert_non_null(strstr(nk_error(), "'x' is not a finite number"));
}

/* ---- Messages ---- */

static void a_hint_is_added_to_the_failure_it_is_for(void **state) {
  (void)state;
  nk_fail(NK_EDATA, "row 17 holds a NaN");
  assert_int_equal(cli_hint(NK_EDATA, NK_EIO, "use --other"), NK_EDATA);
  assert_string_equal(nk_error(), "row 17 holds a NaN");
  assert_int_equal(cli_hint(NK_OK, NK_OK, "use --other"), NK_OK);
  assert_string_equal(nk_error(), "row 17 holds a NaN");
  assert_int_equal(cli_hint(NK_EDATA, NK_EDATA, "use --skip-%s", "bad"), NK_EDATA);
  assert_string_equal(nk_error(), "row 17 holds a NaN (use --skip-bad)");
}

static void the_error_of_a_row_that_is_not_finite_names_the_option(void **state) {
  (void)state;
  struct nk_vectors *set = nk_vectors_new(2, 1, NULL, false);
  assert_non_null(set);
  float *values = nk_vectors_writable(set);
  values[0] = 1;
  values[1] = NAN;
  assert_int_equal(cli_check_finite(&set, false), NK_EDATA);
  assert_string_equal(nk_error(), "row 1 holds a NaN (use --skip-bad to leave such rows out)");
  assert_int_equal(cli_check_finite(&set, true), NK_OK);
  assert_int_equal(set->n, 1);
  nk_vectors_free(set);
}

/* ---- Other programs ---- */

static void a_program_is_given_its_input_and_both_outputs_come_back(void **state) {
  (void)state;
  static const char *const command[] = {"sh", "-c", "cat; echo bad >&2; exit 3", NULL};
  struct nk_buffer input = {0}, output = {0}, errors = {0};
  int status;
  for (int i = 0; i < 100000; i++) nk_buffer_text(&input, "more than a pipe holds\n");
  assert_int_equal(cli_process_run(command, &input, &output, &errors, &status), NK_OK);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 3);
  assert_int_equal(output.size, input.size);
  assert_memory_equal(output.data, input.data, input.size);
  assert_string_equal(errors.data, "bad\n");
  nk_buffer_free(&input);
  nk_buffer_free(&output);
  nk_buffer_free(&errors);
}

static void a_program_that_does_not_exist_is_not_found(void **state) {
  (void)state;
  static const char *const command[] = {"no-such-program-of-noken", NULL};
  struct nk_buffer output = {0}, errors = {0};
  int status;
  assert_int_equal(cli_process_run(command, NULL, &output, &errors, &status), NK_ENOTFOUND);
  assert_non_null(strstr(nk_error(), "no-such-program-of-noken"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_table_reads_back_the_same_from_tsv_and_json),
      cmocka_unit_test(copied_cells_keep_their_characters),
      cmocka_unit_test(a_row_has_a_cell_for_each_column),
      cmocka_unit_test(a_header_alone_is_a_table_without_rows),
      cmocka_unit_test(the_error_of_a_damaged_table_names_the_line),
      cmocka_unit_test(lines_can_end_in_cr_lf),
      cmocka_unit_test(tables_of_other_programs_are_read),
      cmocka_unit_test(json_lines_of_python_are_read),
      cmocka_unit_test(what_is_no_table_is_named),
      cmocka_unit_test(texts_are_escaped_for_the_readers_of_other_programs),
      cmocka_unit_test(time_and_memory_grow_as_the_table_does),
      cmocka_unit_test(options_are_read_in_every_spelling),
      cmocka_unit_test(options_without_a_meaning_are_usage_errors),
      cmocka_unit_test(the_whole_name_of_an_option_is_not_ambiguous),
      cmocka_unit_test(lists_of_numbers_and_ids_are_read),
      cmocka_unit_test(a_hint_is_added_to_the_failure_it_is_for),
      cmocka_unit_test(the_error_of_a_row_that_is_not_finite_names_the_option),
      cmocka_unit_test(a_program_is_given_its_input_and_both_outputs_come_back),
      cmocka_unit_test(a_program_that_does_not_exist_is_not_found),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
