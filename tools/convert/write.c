/* A set in the formats of nk-convert --to. */
#include "convert/write.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- One file ---- */

static int write_table(const struct cli_run *run, const struct nk_vectors *set,
                       struct nk_output *output) {
  struct cli_table *table = cli_new_table(run, output);
  if (table == NULL) return nk_error_code();
  int code = cli_write_vectors(set, table);
  if (code == NK_OK) return cli_table_finish(table);
  cli_table_free(table);
  return code;
}

static int write_safetensors(const struct cli_run *run, struct nk_vectors *set,
                             struct nk_output *output) {
  int code = cli_add_history(set, run->tool, run->argc, run->argv);
  return code == NK_OK ? nk_vectors_write(set, output) : code;
}

static int write_one(const struct cli_run *run, enum convert_format format,
                     struct nk_vectors *set) {
  static const enum nk_format formats[] = {[CONVERT_TO_NPY] = NK_FORMAT_NPY,
                                           [CONVERT_TO_F32] = NK_FORMAT_F32,
                                           [CONVERT_TO_WORD2VEC] = NK_FORMAT_WORD2VEC};
  bool is_text = format == CONVERT_TO_TSV || format == CONVERT_TO_WORD2VEC;
  struct nk_output *output = cli_output(run, is_text ? NK_OUTPUT_TEXT : NK_OUTPUT_BINARY);
  if (output == NULL) return nk_error_code();
  int code = format == CONVERT_TO_SAFETENSORS ? write_safetensors(run, set, output)
             : format == CONVERT_TO_TSV       ? write_table(run, set, output)
                                              : nk_convert(set, formats[format], output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

/* ---- The projector's folder ---- */

static int write_config(const struct nk_vectors *set, struct nk_output *output) {
  const char *space = nk_vectors_metadata(set, "noken.space");
  bool is_plain = space != NULL && space[strcspn(space, "\"\\\n")] == 0;
  struct nk_buffer text = {0};
  nk_buffer_printf(&text,
                   "embeddings {\n  tensor_name: \"%s\"\n  tensor_path: \"vectors.tsv\"\n"
                   "  metadata_path: \"metadata.tsv\"\n}\n",
                   is_plain ? space : "vectors");
  int code = text.failed ? nk_fail(NK_EMEMORY, "out of memory for the projector's configuration")
                         : nk_output_write(output, text.data, text.size);
  nk_buffer_free(&text);
  return code;
}

static int write_vectors(const struct nk_vectors *set, struct nk_output *output) {
  return nk_convert(set, NK_FORMAT_PROJECTOR_VECTORS, output);
}

static int write_metadata(const struct nk_vectors *set, struct nk_output *output) {
  return nk_convert(set, NK_FORMAT_PROJECTOR_METADATA, output);
}

static const struct {
  const char *name;
  int (*write)(const struct nk_vectors *set, struct nk_output *output);
} files[] = {
    {"vectors.tsv", write_vectors},
    {"metadata.tsv", write_metadata},
    {"projector_config.pbtxt", write_config},
};
enum { N_FILES = sizeof files / sizeof *files };

static int write_file(const struct nk_vectors *set, const char *folder, int i,
                      struct nk_output **output) {
  struct nk_buffer path = {0};
  nk_buffer_printf(&path, "%s/%s", folder, files[i].name);
  int code = path.failed ? nk_fail(NK_EMEMORY, "%s: out of memory", folder) : NK_OK;
  if (code == NK_OK && (*output = nk_output_open(path.data, NK_OUTPUT_TEXT)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = files[i].write(set, *output);
  nk_buffer_free(&path);
  return code;
}

/* All files are written before any gets its name; a folder made here is removed on failure. */
static int write_projector(const struct cli_run *run, const struct nk_vectors *set) {
  const char *folder = run->common.output;
  struct nk_output *outputs[N_FILES] = {NULL};
  if (folder == NULL || strcmp(folder, "-") == 0)
    return nk_fail(NK_EUSAGE, "--to projector writes a folder: name it with -o FOLDER");
  bool is_new = mkdir(folder, 0777) == 0;
  if (!is_new && errno != EEXIST) return nk_fail_errno("%s", folder);
  int code = NK_OK;
  for (int i = 0; i < N_FILES && code == NK_OK; i++) code = write_file(set, folder, i, &outputs[i]);
  for (int i = 0; i < N_FILES && code == NK_OK; i++) code = nk_output_commit(outputs[i]);
  for (int i = 0; i < N_FILES; i++) nk_output_free(outputs[i]);
  if (code != NK_OK && is_new) rmdir(folder);
  return code;
}

int convert_write(const struct cli_run *run, enum convert_format format, struct nk_vectors *set) {
  return format == CONVERT_TO_PROJECTOR ? write_projector(run, set) : write_one(run, format, set);
}
