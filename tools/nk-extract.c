/* nk-extract: a matrix of a model as a vector set. */
#include <stdio.h>
#include <string.h>

#include "cli/tool.h"

struct options {
  const char *matrix; /* "input", "output", "position", or a tensor's name */
  const char *ids;    /* "3,10-20", or NULL */
  const char *ids_from;
  bool no_text;
  bool list;
};

/* ---- --list ---- */

static void print_tensor(struct cli_table *table, const struct nk_tensor *tensor) {
  char shape[NK_MAX_DIMS * 24] = "";
  for (size_t i = 0; i < tensor->n_dims; i++) {
    size_t used = strlen(shape);
    snprintf(shape + used, sizeof shape - used, i == 0 ? "%zu" : "x%zu", tensor->shape[i]);
  }
  cli_table_string(table, tensor->name);
  cli_table_string(table, tensor->dtype_name);
  cli_table_string(table, tensor->n_dims == 0 ? "scalar" : shape);
  cli_table_integer(table, (int64_t)tensor->n_bytes);
}

static int print_list(const struct cli_run *run, const struct nk_model *model) {
  static const char *const columns[] = {"name", "dtype", "shape", "bytes"};
  struct nk_output *output = cli_output(run, NK_OUTPUT_TEXT);
  if (output == NULL) return nk_error_code();
  struct cli_table *table = cli_new_table(run, output);
  int code = table != NULL ? NK_OK : nk_error_code();
  for (size_t c = 0; c < 4 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t i = 0; i < nk_model_n_tensors(model) && code == NK_OK; i++) {
    print_tensor(table, nk_model_tensor(model, i));
    code = cli_table_end_row(table);
  }
  return cli_close(table, output, code);
}

/* ---- The matrix ---- */

/* The tensor of --matrix. *space: "input", "output" or "position" for those matrices, by whichever
 * name they were requested; else the tensor's name. */
static const struct nk_tensor *choose_matrix(const struct nk_model *model, const char *name,
                                             const char **space) {
  static const char *const spaces[] = {"input", "output", "position"};
  for (int i = 0; i < 3; i++) {
    if (strcmp(name, spaces[i]) != 0) continue;
    *space = spaces[i];
    return nk_model_matrix(model, (enum nk_matrix)i, NULL);
  }
  const struct nk_tensor *tensor = nk_model_find(model, name);
  *space = name;
  for (int i = 0; tensor != NULL && i < 3; i++) {
    if (nk_model_matrix(model, (enum nk_matrix)i, NULL) != tensor) continue;
    *space = spaces[i];
    break;
  }
  return tensor;
}

/* The ids of --ids or --ids-from, [*n]; *ids is NULL for all rows. */
static int choose_ids(const struct options *options, int64_t **ids, size_t *n) {
  *ids = NULL;
  *n = 0;
  if (options->ids != NULL && options->ids_from != NULL)
    return nk_fail(NK_EUSAGE, "--ids and --ids-from exclude each other");
  if (options->ids != NULL) return cli_parse_ids("--ids", options->ids, ids, n);
  if (options->ids_from == NULL) return NK_OK;
  struct cli_frame *frame = cli_frame_read(options->ids_from);
  if (frame == NULL) return nk_error_code();
  *n = cli_frame_n_rows(frame);
  int code = cli_frame_integers(frame, "id", ids);
  cli_frame_free(frame);
  return code;
}

/* Gives the set the tokens' texts, for the matrices that have a row per token. */
static int label(const struct nk_model *model, size_t n_rows, const char *space,
                 struct nk_vectors *set) {
  if (strcmp(space, "input") != 0 && strcmp(space, "output") != 0) return NK_OK;
  const char *folder = nk_model_folder(model);
  if (folder == NULL) return NK_OK;
  struct nk_tokenizer *vocabulary = nk_tokenizer_open_vocabulary(folder);
  if (vocabulary == NULL && nk_error_code() == NK_ENOTFOUND) return NK_OK;
  if (vocabulary == NULL)
    return nk_fail_in(nk_error_code(), "cannot read the tokens' texts (--no-text)");
  size_t n_ids = nk_tokenizer_n_tokens(vocabulary);
  if (n_ids != n_rows) {
    nk_warn("%s: the tokenizer has %zu ids, the matrix %zu rows: %s", nk_model_name(model), n_ids,
            n_rows, n_ids < n_rows ? "rows past its end have no text" : "some tokens have no row");
  }
  int code = nk_tokenizer_label(vocabulary, set);
  nk_tokenizer_free(vocabulary);
  return code;
}

static int extract(const struct cli_run *run, const struct options *options,
                   const struct nk_model *model) {
  struct nk_vectors *set = NULL;
  struct nk_output *output = NULL;
  int64_t *ids = NULL;
  const char *space;
  size_t n;
  const struct nk_tensor *tensor = choose_matrix(model, options->matrix, &space);
  int code = tensor != NULL ? choose_ids(options, &ids, &n) : nk_error_code();
  if (code != NK_OK) goto done;
  set = nk_extract_begin(model, tensor, space, ids, n);
  code = set != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && !options->no_text) code = label(model, tensor->shape[0], space, set);
  if (code == NK_OK) code = cli_add_history(set, run->tool, run->argc, run->argv);
  if (code != NK_OK) goto done;
  output = cli_output(run, NK_OUTPUT_BINARY);
  code = output != NULL ? nk_vectors_write(set, output) : nk_error_code();
  if (code == NK_OK) code = nk_output_commit(output);
done:
  nk_output_free(output);
  nk_vectors_free(set);
  nk_free(ids);
  return code;
}

int main(int argc, char **argv) {
  struct options options = {.matrix = "input"};
  const struct cli_option table_of_options[] = {
      {'m', "matrix", CLI_OPTION_STRING, &options.matrix, "WHICH",
       "input (default), output, position, or a tensor's name"},
      {0, "ids", CLI_OPTION_STRING, &options.ids, "LIST", "extract these rows only: 3,10-20"},
      {0, "ids-from", CLI_OPTION_STRING, &options.ids_from, "FILE",
       "extract the rows in the column id of this table only"},
      {0, "no-text", CLI_OPTION_FLAG, &options.no_text, NULL,
       "write no token texts; do not read tokenizer.json"},
      {'l', "list", CLI_OPTION_FLAG, &options.list, NULL,
       "print a table of the model's tensors and exit"},
  };
  const struct cli_tool tool = {
      .name = "nk-extract",
      .summary = "the embedding matrix of a model as a vector set",
      .usage = "[OPTION]... MODEL",
      .options = table_of_options,
      .n_options = sizeof table_of_options / sizeof table_of_options[0],
      .example = "nk-extract data/gpt2-tiny -o wte.safetensors",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 1);
  struct nk_model *model = nk_model_open(cli_operand(&run, 0));
  int code = nk_error_code();
  if (model != NULL) {
    code = options.list ? print_list(&run, model) : extract(&run, &options, model);
  }
  nk_model_free(model);
  return cli_end(&run, code);
}
