/* nk-info: what a model is, and what can be done with it. Headers are read, no weights. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tool.h"

struct info {
  struct nk_model *model;
  struct nk_model_facts facts;
  struct cli_table *table;
  int code; /* of the rows so far */
};

/* ---- Rows ---- */

static void end_row(struct info *info) {
  if (info->code == NK_OK) info->code = cli_table_end_row(info->table);
}

/* NULL: no value. */
static void text(struct info *info, const char *property, const char *value) {
  cli_table_string(info->table, property);
  if (value != NULL && *value != 0)
    cli_table_string(info->table, value);
  else
    cli_table_missing(info->table);
  end_row(info);
}

/* 0: no value. */
static void number(struct info *info, const char *property, size_t value) {
  cli_table_string(info->table, property);
  if (value > 0)
    cli_table_integer(info->table, (int64_t)value);
  else
    cli_table_missing(info->table);
  end_row(info);
}

/* `value`, or where it is NULL, the message of the call that gave none. Memory that is short is not
 * a property of the model. */
static const char *or_reason(struct info *info, const char *value) {
  if (value != NULL) return value;
  if (nk_error_code() == NK_EMEMORY && info->code == NK_OK) info->code = NK_EMEMORY;
  return nk_error();
}

/* ---- Files ---- */

/* The file's path without links but its own name: a cache's files are links to blobs without
 * names. NULL on failure; free with nk_free. */
static char *resolve(const char *file) {
  char *copy = nk_strdup(file), *folder = copy != NULL ? realpath(dirname(copy), NULL) : NULL;
  const char *slash = strrchr(file, '/'), *name = slash != NULL ? slash + 1 : file;
  struct nk_buffer path = {0};
  if (copy != NULL && folder == NULL) nk_fail_errno("%s", file);
  if (folder != NULL)
    nk_buffer_printf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name);
  if (path.failed) nk_fail(NK_EMEMORY, "%s: out of memory", file);
  char *out = folder != NULL && !path.failed ? nk_strndup(path.data, path.size) : NULL;
  nk_buffer_free(&path);
  free(folder);
  nk_free(copy);
  return out;
}

static void file_row(struct info *info, const char *property, const char *file) {
  char *path = resolve(file);
  if (path != NULL)
    text(info, property, path);
  else if (info->code == NK_OK)
    info->code = nk_error_code();
  nk_free(path);
}

static void print_path(struct info *info) {
  const char *folder = nk_model_folder(info->model);
  if (folder == NULL || info->facts.gguf) {
    file_row(info, "path", info->facts.files[0]);
    return;
  }
  char *path = realpath(folder, NULL);
  if (path != NULL)
    text(info, "path", path);
  else if (info->code == NK_OK)
    info->code = nk_fail_errno("%s", folder);
  free(path);
}

/* ---- Weights ---- */

struct type {
  const char *name;
  size_t n_bytes;
};

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct type *)a)->name, ((const struct type *)b)->name);
}

/* The largest first. */
static int by_size(const void *a, const void *b) {
  const struct type *x = a, *y = b;
  return x->n_bytes != y->n_bytes ? (x->n_bytes < y->n_bytes ? 1 : -1) : by_name(a, b);
}

/* Rows of the types of all tensors, those with the most bytes first, and of their bytes. */
static void print_types(struct info *info) {
  size_t n = nk_model_n_tensors(info->model), n_types = 0, sum = 0;
  struct type *types = nk_alloc(n, sizeof *types);
  struct nk_buffer names = {0};
  if (types == NULL) {
    info->code = NK_EMEMORY;
    return;
  }
  for (size_t i = 0; i < n; i++) {
    const struct nk_tensor *t = nk_model_tensor(info->model, i);
    const char *name = t->dtype_name != NULL ? t->dtype_name : nk_dtype_names[t->dtype];
    types[i] = (struct type){name, t->n_bytes};
    sum += t->n_bytes;
  }
  qsort(types, n, sizeof *types, by_name);
  for (size_t i = 0; i < n; i++) {
    if (n_types > 0 && by_name(&types[n_types - 1], &types[i]) == 0)
      types[n_types - 1].n_bytes += types[i].n_bytes;
    else
      types[n_types++] = types[i];
  }
  qsort(types, n_types, sizeof *types, by_size);
  for (size_t i = 0; i < n_types; i++)
    nk_buffer_printf(&names, "%s%s", i > 0 ? " " : "", types[i].name);
  number(info, "bytes", sum);
  text(info, "types", names.data);
  if (names.failed) info->code = nk_fail(NK_EMEMORY, "out of memory for types");
  nk_buffer_free(&names);
  nk_free(types);
}

/* The matrix of the tokens, and whether the output matrix is the same one. */
static void print_matrices(struct info *info) {
  const struct nk_tensor *input = nk_model_matrix(info->model, NK_MATRIX_INPUT, NULL);
  bool tied = false;
  number(info, "tokens", input != NULL ? input->shape[0] : 0);
  const struct nk_tensor *output = nk_model_matrix(info->model, NK_MATRIX_OUTPUT, &tied);
  text(info, "output_matrix", output == NULL ? NULL : tied ? "tied" : "untied");
}

static void print_model(struct info *info) {
  const struct nk_model_facts *f = &info->facts;
  bool folder = !f->gguf && nk_model_folder(info->model) != NULL;
  text(info, "model", nk_model_name(info->model));
  print_path(info);
  text(info, "format", f->gguf ? "GGUF" : folder ? "folder" : "safetensors");
  text(info, "model_type", f->type);
  number(info, "blocks", f->n_layers);
  number(info, "dimension", f->dim);
  number(info, "heads", f->n_heads);
  number(info, "key_value_heads", f->n_kv_heads);
  number(info, "positions", f->n_positions);
  print_matrices(info);
  number(info, "parameters", f->n_parameters);
  print_types(info);
  cli_table_string(info->table, "missing_shards");
  cli_table_integer(info->table, (int64_t)f->n_missing);
  end_row(info);
}

/* ---- The tokenizer ---- */

/* The tokens that every prompt begins with. */
static void print_begin(struct info *info, const struct nk_tokenizer *tokenizer) {
  struct nk_buffer names = {0};
  int64_t *ids = NULL;
  size_t n = 0, n_bytes;
  if (tokenizer != NULL) info->code = nk_prompt_encode(tokenizer, "", 0, false, &ids, &n);
  for (size_t i = 0; i < n && info->code == NK_OK; i++) {
    const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &n_bytes);
    if (i > 0) nk_buffer_byte(&names, ' ');
    if (bytes != NULL) nk_buffer_append(&names, bytes, n_bytes);
  }
  cli_table_string(info->table, "begin_tokens");
  if (names.size > 0)
    cli_table_text(info->table, names.data, names.size);
  else
    cli_table_missing(info->table);
  end_row(info);
  if (names.failed) info->code = nk_fail(NK_EMEMORY, "out of memory for tokens");
  nk_buffer_free(&names);
  nk_free(ids);
}

/* The number of tokens, also of a tokenizer that cannot encode. */
static size_t count_vocabulary(const struct info *info, const struct nk_tokenizer *tokenizer) {
  const char *folder = nk_model_folder(info->model);
  if (tokenizer != NULL || folder == NULL)
    return tokenizer != NULL ? nk_tokenizer_n_tokens(tokenizer) : 0;
  struct nk_tokenizer *vocabulary = nk_tokenizer_open_vocabulary(folder);
  size_t n = vocabulary != NULL ? nk_tokenizer_n_tokens(vocabulary) : 0;
  nk_tokenizer_free(vocabulary);
  return n;
}

static void print_tokenizer(struct info *info) {
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(info->model);
  const struct nk_chat_format *chat;
  text(info, "tokenizer", or_reason(info, tokenizer != NULL ? "yes" : NULL));
  number(info, "vocabulary", count_vocabulary(info, tokenizer));
  if (info->code == NK_OK) print_begin(info, tokenizer);
  chat = nk_model_chat_format(info->model);
  if (chat == NULL) or_reason(info, NULL);
  text(info, "chat_format", chat != NULL ? chat->name : NULL);
}

/* ---- What can be done ---- */

static void print_abilities(struct info *info) {
  enum nk_engine engine = NK_ENGINE_AUTO;
  int code = nk_model_check_ability(info->model, NK_ABILITY_RUN, &engine);
  const char *name = engine == NK_ENGINE_LLAMA ? "llama" : "native";
  text(info, "runs", or_reason(info, code == NK_OK ? name : NULL));
  code = nk_model_check_ability(info->model, NK_ABILITY_GRADIENTS, NULL);
  text(info, "gradients", or_reason(info, code == NK_OK ? "yes" : NULL));
  code = nk_model_check_ability(info->model, NK_ABILITY_WEIGHT_GRADIENTS, NULL);
  text(info, "weight_gradients", or_reason(info, code == NK_OK ? "yes" : NULL));
}

static int print_info(struct info *info) {
  if (info->table == NULL) return nk_error_code();
  info->code = nk_model_describe(info->model, &info->facts);
  if (info->code == NK_OK) info->code = cli_table_column(info->table, "property");
  if (info->code == NK_OK) info->code = cli_table_column(info->table, "value");
  if (info->code == NK_OK) print_model(info);
  if (info->code == NK_OK) print_tokenizer(info);
  if (info->code == NK_OK) print_abilities(info);
  for (size_t i = 0; i < info->facts.n_files && info->code == NK_OK; i++)
    file_row(info, "file", info->facts.files[i]);
  return info->code;
}

int main(int argc, char **argv) {
  const struct cli_tool tool = {
      .name = "nk-info",
      .summary = "what a model is, and what can be done with it",
      .usage = "[OPTION]... MODEL",
      .example = "nk-info data/gpt2-tiny",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 1);
  struct info info = {.model = nk_model_open(cli_operand(&run, 0))};
  struct nk_output *output = info.model != NULL ? cli_output(&run, NK_OUTPUT_TEXT) : NULL;
  info.table = output != NULL ? cli_new_table(&run, output) : NULL;
  int code = info.table != NULL ? print_info(&info) : nk_error_code();
  code = cli_close(info.table, output, code);
  nk_model_free(info.model);
  return cli_end(&run, code);
}
