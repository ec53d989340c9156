/* nk-extract: a matrix of a model as a vector set. */
#include <stdio.h>
#include <string.h>

#include "cli/tool.h"

static const char *matrix = "input", *id_list, *id_table;
static bool list, no_text;

static const struct cli_option options[] = {
    {'m', "matrix", CLI_OPTION_STRING, &matrix, "WHICH",
     "input (default), output, position, or a tensor's name"},
    {0, "ids", CLI_OPTION_STRING, &id_list, "LIST", "only these rows, in this order: 3,10-20"},
    {0, "ids-from", CLI_OPTION_STRING, &id_table, "FILE",
     "only the ids of this table ('-': stdin)"},
    {0, "no-text", CLI_OPTION_FLAG, &no_text, NULL, "leave out the tokens' texts"},
    {'l', "list", CLI_OPTION_FLAG, &list, NULL, "print a table of the model's tensors instead"},
};

static const struct cli_tool tool = {
    .name = "nk-extract",
    .summary = "the embedding matrix of a model as a vector set",
    .usage = "[OPTION]... MODEL",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .example = "nk-extract data/gpt2-tiny -o wte.safetensors",
};

/* ---- --list ---- */

static void print_tensor(struct cli_table *table, const struct nk_tensor *tensor) {
  char shape[NK_MAX_DIMS * 24] = "";
  for (size_t i = 0; i < tensor->n_dims; i++) {
    size_t used = strlen(shape);
    snprintf(shape + used, sizeof shape - used, i == 0 ? "%zu" : "x%zu", tensor->shape[i]);
  }
  cli_table_string(table, tensor->name);
  cli_table_string(table, nk_dtype_names[tensor->dtype]);
  cli_table_string(table, tensor->n_dims == 0 ? "scalar" : shape);
  cli_table_integer(table, (int64_t)tensor->n_bytes);
}

static int print_list(const struct cli_run *run, const struct nk_model *model) {
  static const char *const columns[] = {"name", "dtype", "shape", "bytes"};
  struct nk_output *output = cli_output(run, NK_OUTPUT_TEXT);
  if (!output) return nk_error_code();
  struct cli_table *table = cli_new_table(run, output);
  int code = table ? NK_OK : nk_error_code();
  for (size_t c = 0; c < 4 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t i = 0; i < nk_model_n_tensors(model) && code == NK_OK; i++) {
    print_tensor(table, nk_model_tensor(model, i));
    code = cli_table_end_row(table);
  }
  return cli_close(table, output, code);
}

/* ---- The matrix ---- */

/* The tensor asked for, and the name of its space: tensors that are a known matrix get its name. */
static const struct nk_tensor *choose(const struct nk_model *model, const char **space) {
  static const char *const names[] = {"input", "output", "position"};
  for (int i = 0; i < 3; i++) {
    if (strcmp(matrix, names[i]) != 0) continue;
    *space = names[i];
    return nk_model_matrix(model, (enum nk_matrix)i, NULL);
  }
  const struct nk_tensor *tensor = nk_model_find(model, matrix);
  *space = matrix;
  for (int i = 0; tensor && i < 3; i++) {
    if (nk_model_matrix(model, (enum nk_matrix)i, NULL) != tensor) continue;
    *space = names[i];
    break;
  }
  return tensor;
}

/* The ids of --ids or --ids-from; *ids NULL for all rows. */
static int choose_ids(int64_t **ids, size_t *n) {
  *ids = NULL;
  *n = 0;
  if (id_list && id_table) return nk_fail(NK_EUSAGE, "--ids and --ids-from exclude each other");
  if (id_list) return cli_parse_ids("--ids", id_list, ids, n);
  if (!id_table) return 0;
  struct cli_frame *frame = cli_frame_read(id_table);
  if (!frame) return nk_error_code();
  *n = cli_frame_n_rows(frame);
  int code = cli_frame_integers(frame, "id", ids);
  cli_frame_free(frame);
  return code;
}

/* The tokens' texts, for the matrices that have a row per token. */
static int label(const struct nk_model *model, const struct nk_tensor *tensor, const char *space,
                 struct nk_vectors *set) {
  if (no_text || (strcmp(space, "input") != 0 && strcmp(space, "output") != 0)) return 0;
  const char *path = nk_model_path(model, "tokenizer.json");
  if (!path) return 0;
  struct nk_vocabulary *vocabulary = nk_vocabulary_open(path);
  if (!vocabulary) return nk_fail_in(nk_error_code(), "cannot read the tokens' texts (--no-text)");
  size_t size = nk_vocabulary_n_tokens(vocabulary), rows = tensor->shape[0];
  if (size != rows) {
    nk_warn("%s: the tokenizer has %zu ids, the matrix %zu rows: %s", nk_model_name(model), size,
            rows, size < rows ? "rows past its end have no text" : "some tokens have no row");
  }
  int code = nk_vocabulary_label(vocabulary, set);
  nk_vocabulary_free(vocabulary);
  return code;
}

static int extract(const struct cli_run *run, const struct nk_model *model) {
  const char *space;
  const struct nk_tensor *tensor = choose(model, &space);
  if (!tensor) return nk_error_code();
  int64_t *ids;
  size_t n;
  struct nk_vectors *set = NULL;
  struct nk_output *output = NULL;
  int code = choose_ids(&ids, &n);
  if (code == NK_OK && !(set = nk_extract_begin(model, tensor, space, ids, n)))
    code = nk_error_code();
  nk_free(ids);
  if (code == NK_OK) code = label(model, tensor, space, set);
  if (code == NK_OK) code = cli_add_history(set, run->argc, run->argv);
  if (code == NK_OK && !(output = cli_output(run, NK_OUTPUT_BINARY))) code = nk_error_code();
  if (code == NK_OK) code = nk_extract_write(model, tensor, set, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_vectors_free(set);
  return code;
}

int main(int argc, char **argv) {
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 1);
  struct nk_model *model = nk_model_open(cli_operand(&run, 0));
  int code = !model ? nk_error_code() : list ? print_list(&run, model) : extract(&run, model);
  nk_model_free(model);
  return cli_end(&run, code);
}
