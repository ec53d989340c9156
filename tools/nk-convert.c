/* nk-convert: a vector set in other programs' formats, and back. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/tool.h"

enum { TO_NOTHING = -1, TO_SAFETENSORS, TO_NPY, TO_F32, TO_TSV, TO_WORD2VEC, TO_PROJECTOR };
static int format = TO_NOTHING;
enum { MODEL_NONE = -1, MODEL_GGUF, MODEL_GGUF_F16 };
static int model_format = MODEL_NONE;

static const struct cli_option options[] = {
    {'t', "to", CLI_OPTION_CHOICE, &format, "safetensors|npy|f32|tsv|word2vec|projector",
     "what to write"},
    {'m', "model", CLI_OPTION_CHOICE, &model_format, "gguf|gguf-f16",
     "write a whole model (an operand) for llama.cpp"},
};

static const struct cli_tool tool = {
    .name = "nk-convert",
    .summary = "a vector set in other programs' formats",
    .usage = "--to FORMAT [OPTION]... [SET] | --model FORMAT MODEL",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .example = "nk-extract data/gpt2-tiny | nk-convert --to npy -o wte.npy",
};

static int write_table(const struct cli_run *run, const struct nk_vectors *set,
                       struct nk_output *output) {
  struct cli_table *table = cli_new_table(run, output);
  if (!table) return nk_error_code();
  int code = cli_write_vectors(set, table);
  if (code == NK_OK) return cli_table_finish(table);
  cli_table_free(table);
  return code;
}

static int write_one(const struct cli_run *run, struct nk_vectors *set) {
  bool is_text = format == TO_TSV || format == TO_WORD2VEC;
  struct nk_output *output = cli_output(run, is_text ? NK_OUTPUT_TEXT : NK_OUTPUT_BINARY);
  if (!output) return nk_error_code();
  int code = NK_OK;
  switch (format) {
    case TO_SAFETENSORS:
      code = cli_add_history(set, run->argc, run->argv);
      if (code == NK_OK) code = nk_vectors_write(set, output);
      break;
    case TO_NPY:
      code = nk_convert_npy(set, output);
      break;
    case TO_F32:
      code = nk_convert_f32(set, output);
      break;
    case TO_TSV:
      code = write_table(run, set, output);
      break;
    case TO_WORD2VEC:
      code = nk_convert_word2vec(set, output);
      break;
  }
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

/* ---- The projector's folder ---- */

static int write_config(const struct nk_vectors *set, struct nk_output *output) {
  const char *space = nk_vectors_metadata(set, "noken.space");
  bool plain = space && space[strcspn(space, "\"\\\n")] == 0;
  return nk_output_printf(output,
                          "embeddings {\n  tensor_name: \"%s\"\n  tensor_path: \"vectors.tsv\"\n"
                          "  metadata_path: \"metadata.tsv\"\n}\n",
                          plain ? space : "vectors");
}

static const struct {
  const char *name;
  int (*write)(const struct nk_vectors *set, struct nk_output *output);
} files[] = {
    {"vectors.tsv", nk_convert_projector_vectors},
    {"metadata.tsv", nk_convert_projector_metadata},
    {"projector_config.pbtxt", write_config},
};
enum { N_FILES = sizeof files / sizeof *files };

static int write_file(const struct nk_vectors *set, const char *folder, int i,
                      struct nk_output **output) {
  struct nk_buffer path = {0};
  nk_buffer_printf(&path, "%s/%s", folder, files[i].name);
  int code = path.failed ? nk_fail(NK_EMEMORY, "%s: out of memory", folder) : 0;
  if (code == NK_OK && !(*output = nk_output_open(path.data, NK_OUTPUT_TEXT)))
    code = nk_error_code();
  if (code == NK_OK) code = files[i].write(set, *output);
  nk_buffer_free(&path);
  return code;
}

/* All files are written before any gets its name; a folder made here goes again on failure. */
static int write_projector(const struct cli_run *run, const struct nk_vectors *set) {
  const char *folder = run->common.output;
  struct nk_output *outputs[N_FILES] = {NULL};
  if (!folder || strcmp(folder, "-") == 0)
    return nk_fail(NK_EUSAGE, "--to projector writes a folder: name it with -o FOLDER");
  bool made = mkdir(folder, 0777) == 0;
  if (!made && errno != EEXIST) return nk_fail_errno("%s", folder);
  int code = NK_OK;
  for (int i = 0; i < N_FILES && code == NK_OK; i++) code = write_file(set, folder, i, &outputs[i]);
  for (int i = 0; i < N_FILES && code == NK_OK; i++) code = nk_output_commit(outputs[i]);
  for (int i = 0; i < N_FILES; i++) nk_output_free(outputs[i]);
  if (code != NK_OK && made) rmdir(folder);
  return code;
}

static int write_model(const struct cli_run *run) {
  if (run->n_operands == 0) return nk_fail(NK_EUSAGE, "--model: a MODEL is missing");
  struct nk_model *model = nk_model_open(run->operands[0]);
  struct nk_output *output = model ? cli_output(run, NK_OUTPUT_BINARY) : NULL;
  int code = output ? NK_OK : nk_error_code();
  if (code == NK_OK) code = nk_model_write_gguf(model, model_format == MODEL_GGUF_F16, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_model_free(model);
  return code;
}

int main(int argc, char **argv) {
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  if (model_format != MODEL_NONE && format != TO_NOTHING) {
    return cli_end(&run, nk_fail(NK_EUSAGE, "--to writes a set, --model a model: not both"));
  }
  if (model_format != MODEL_NONE) return cli_end(&run, write_model(&run));
  if (format == TO_NOTHING) {
    return cli_end(&run, nk_fail(NK_EUSAGE, "--to FORMAT is needed (%s)", options[0].argument));
  }
  struct nk_vectors *set = nk_vectors_read(cli_operand(&run, 0));
  int code = !set                     ? nk_error_code()
             : format == TO_PROJECTOR ? write_projector(&run, set)
                                      : write_one(&run, set);
  nk_vectors_free(set);
  return cli_end(&run, code);
}
