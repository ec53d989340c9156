/* nk-convert: a vector set in other programs' formats and out of them, a model as GGUF or as a
 * folder. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/model_folder.h"
#include "cli/tool.h"
#include "convert/cat.h"
#include "convert/states.h"

enum { NOT_CHOSEN = -1 };
#define NOT_GIVEN SIZE_MAX /* of --dim and --neighbours */
enum { MODEL_GGUF, MODEL_HF };
enum { TO_SAFETENSORS, TO_NPY, TO_F32, TO_TSV, TO_WORD2VEC, TO_PROJECTOR };

struct options {
  bool cat;   /* sets one after another */
  int format; /* TO_... */
  size_t dim; /* of raw floats; NOT_GIVEN: the input is a set */
  struct convert_states states;
  int model_format;           /* MODEL_... */
  int type;                   /* of --type, in the order of its choices */
  struct cli_strings shuffle; /* one seed, or none */
  const char *patch;          /* a table of tokens whose rows are replaced, or NULL */
  int with;                   /* enum nk_patch_source */
  size_t k;                   /* of NK_PATCH_NEIGHBOURS, or NOT_GIVEN */
  bool patch_output;          /* in an output matrix of its own too */
};

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
  int code = cli_add_history(set, run->argc, run->argv);
  return code == NK_OK ? nk_vectors_write(set, output) : code;
}

static int write_one(const struct cli_run *run, int format, struct nk_vectors *set) {
  bool is_text = format == TO_TSV || format == TO_WORD2VEC;
  struct nk_output *output = cli_output(run, is_text ? NK_OUTPUT_TEXT : NK_OUTPUT_BINARY);
  if (output == NULL) return nk_error_code();
  int code = NK_OK;
  switch (format) {
    case TO_SAFETENSORS:
      code = write_safetensors(run, set, output);
      break;
    case TO_NPY:
      code = nk_convert(set, NK_FORMAT_NPY, output);
      break;
    case TO_F32:
      code = nk_convert(set, NK_FORMAT_F32, output);
      break;
    case TO_TSV:
      code = write_table(run, set, output);
      break;
    case TO_WORD2VEC:
      code = nk_convert(set, NK_FORMAT_WORD2VEC, output);
      break;
  }
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

/* ---- Set or model ---- */

/* A set of raw 32-bit little-endian floats, dim to a row. */
static struct nk_vectors *read_floats(const char *path, size_t dim) {
  struct nk_file *file = nk_file_open(path);
  size_t row_size = 0;
  if (file == NULL) return NULL;
  struct nk_vectors *set = NULL;
  if (!nk_size_mul(dim, sizeof(float), &row_size) || row_size == 0 || file->size % row_size != 0)
    nk_fail(NK_EDATA, "%s: %zu bytes are not whole rows of %zu floats", file->name, file->size,
            dim);
  else
    set = nk_vectors_new(file->size / row_size, dim, NULL, false);
  if (set != NULL) memcpy(nk_vectors_writable(set), file->data, file->size);
  nk_file_free(file);
  return set;
}

static int convert_set(const struct cli_run *run, int format, size_t dim) {
  const char *path = cli_operand(run, 0);
  struct nk_vectors *set = dim != NOT_GIVEN ? read_floats(path, dim) : nk_vectors_read(path);
  if (set == NULL) return nk_error_code();
  int code = format == TO_PROJECTOR ? write_projector(run, set) : write_one(run, format, set);
  nk_vectors_free(set);
  return code;
}

static int cat_sets(const struct cli_run *run) {
  size_t n = run->n_operands;
  struct nk_vectors **sets = nk_calloc(n, sizeof *sets);
  struct nk_vectors *joined = sets != NULL ? convert_cat(run->operands, n, sets) : NULL;
  int code = joined != NULL ? write_one(run, TO_SAFETENSORS, joined) : nk_error_code();
  nk_vectors_free(joined);
  for (size_t i = 0; i < n && sets != NULL; i++) nk_vectors_free(sets[i]);
  nk_free(sets);
  return code;
}

static int write_gguf(const struct cli_run *run, const struct nk_model *model,
                      const struct nk_model_write_options *options) {
  struct nk_output *output = cli_output(run, NK_OUTPUT_BINARY);
  int code = output != NULL ? nk_model_write(model, options, output) : nk_error_code();
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

static int read_seed(const struct options *o, struct nk_model_write_options *options) {
  if (o->shuffle.n == 0) return NK_OK;
  const char *text = o->shuffle.item[o->shuffle.n - 1];
  char *end;
  errno = 0;
  options->shuffle = true;
  options->seed = strtoull(text, &end, 10);
  if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0) return NK_OK;
  return nk_fail(NK_EUSAGE, "--shuffle-weights: '%s' is not a seed, a whole number", text);
}

/* ---- Other rows ---- */

/* Writes the folder with other rows of the tokens of --patch-rows in the input matrix. An output
 * matrix of its own has them on request only: rows that are a mean of others make the tokens more
 * probable than training left them, in every text. */
static int write_patched(struct nk_model *model, const struct options *o,
                         struct nk_model_write_options *options, const char *folder) {
  const struct nk_patch_options how = {.source = (enum nk_patch_source)o->with,
                                       .k = o->k != NOT_GIVEN ? o->k : 0};
  static const enum nk_matrix which[] = {NK_MATRIX_INPUT, NK_MATRIX_OUTPUT};
  struct nk_patch patches[2] = {{0}};
  int64_t *ids = NULL;
  size_t n = 0;
  bool tied = false;
  int code = cli_read_verified(o->patch, &ids, &n);
  if (code == NK_OK && n == 0) nk_warn("%s: no tokens are listed: no row is replaced", o->patch);
  if (code == NK_OK && nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied) == NULL)
    code = nk_error_code();
  options->n_patches = o->patch_output && !tied ? 2 : 1;
  options->patches = patches;
  if (code == NK_OK) code = nk_patch_rows(model, which, options->n_patches, &how, ids, n, patches);
  if (code == NK_OK) code = cli_write_model_folder(model, options, folder);
  options->n_patches = 0;
  options->patches = NULL;
  for (size_t i = 0; i < 2; i++) {
    nk_free(patches[i].rows);
    nk_free(patches[i].values);
  }
  nk_free(ids);
  return code;
}

/* ---- A model ---- */

static int check_patch(const struct options *o) {
  if (o->patch != NULL && o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--patch-rows and --shuffle-weights exclude each other");
  if (o->patch != NULL && o->with == NOT_CHOSEN)
    return nk_fail(NK_EUSAGE,
                   "--patch-rows: say what the rows become: --with mean, neighbours or text");
  if (o->patch == NULL && (o->with != NOT_CHOSEN || o->patch_output))
    return nk_fail(NK_EUSAGE, "%s is of rows that are replaced: give --patch-rows TABLE",
                   o->patch_output ? "--patch-output" : "--with");
  if (o->k != NOT_GIVEN && o->with != NK_PATCH_NEIGHBOURS)
    return nk_fail(NK_EUSAGE, "--neighbours is of --with neighbours");
  if (o->k == 0) return nk_fail(NK_EUSAGE, "--neighbours: at least 1");
  return NK_OK;
}

static int check_model(const struct cli_run *run, const struct options *o) {
  const char *output = run->common.output;
  bool folder = o->model_format == MODEL_HF;
  if (run->n_operands == 0) return nk_fail(NK_EUSAGE, "--model: the operand MODEL is missing");
  if (folder && o->type != NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--type is of a GGUF: --model hf keeps the types");
  if (!folder && o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--shuffle-weights is of a folder: use --model hf");
  if (!folder && o->patch != NULL)
    return nk_fail(NK_EUSAGE, "--patch-rows is of a folder: use --model hf");
  if (folder && (output == NULL || strcmp(output, "-") == 0))
    return nk_fail(NK_EUSAGE, "--model hf writes a folder: name it with -o FOLDER");
  return check_patch(o);
}

static int check_cat(const struct cli_run *run, const struct options *o) {
  if (o->format > TO_SAFETENSORS || o->model_format != NOT_CHOSEN || o->dim != NOT_GIVEN ||
      o->states.from != NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--cat takes sets and writes a set: pipe it to nk-convert --to");
  if (run->n_operands == 0) return nk_fail(NK_EUSAGE, "--cat: the operands SET... are missing");
  return NK_OK;
}

/* What a set and a model do not share. */
static int check_usage(const struct options *o, const struct cli_run *run) {
  bool is_model = o->model_format != NOT_CHOSEN, from = o->states.from != NOT_CHOSEN;
  int code = o->cat ? check_cat(run, o) : NK_OK;
  if (code != NK_OK) return code;
  if (from && (is_model || o->format != NOT_CHOSEN || o->dim != NOT_GIVEN))
    return nk_fail(NK_EUSAGE, "--from writes a set: pipe it into a second nk-convert");
  if (!from && !o->cat && run->n_operands > 1)
    return nk_fail(NK_EUSAGE, "unexpected operand '%s': --from and --cat alone take several",
                   run->operands[1]);
  if (is_model && o->format != NOT_CHOSEN)
    return nk_fail(NK_EUSAGE,
                   "--to (writes a set) and --model (writes a model) exclude each other");
  code = convert_check_states(&o->states);
  if (code != NK_OK) return code;
  if (o->dim == 0) return nk_fail(NK_EUSAGE, "--dim: at least 1 float to a row");
  if (is_model && o->dim != NOT_GIVEN)
    return nk_fail(NK_EUSAGE, "--dim describes a set, --model takes a model");
  if (is_model) return NK_OK;
  if (o->type != NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--type is of a model's matrices: give --model too");
  if (o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--shuffle-weights is of a model: give --model hf too");
  if (o->patch != NULL)
    return nk_fail(NK_EUSAGE, "--patch-rows is of a model: give --model hf too");
  return check_patch(o);
}

static int convert_model(const struct cli_run *run, const struct options *o) {
  static const enum nk_dtype types[] = {NK_F32, NK_F16, NK_BF16, NK_Q8_0};
  struct nk_model_write_options options = {.dtype = types[o->type == NOT_CHOSEN ? 0 : o->type]};
  int code = check_model(run, o);
  if (code == NK_OK) code = read_seed(o, &options);
  if (code != NK_OK) return code;
  struct nk_model *model = nk_model_open(run->operands[0]);
  if (model == NULL) return nk_error_code();
  if (o->model_format == MODEL_HF) {
    options.format = NK_MODEL_SAFETENSORS;
    code = o->patch != NULL ? write_patched(model, o, &options, run->common.output)
                            : cli_write_model_folder(model, &options, run->common.output);
  } else {
    code = write_gguf(run, model, &options);
  }
  nk_model_free(model);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {.format = NOT_CHOSEN,
                      .dim = NOT_GIVEN,
                      .states = {.from = NOT_CHOSEN},
                      .model_format = NOT_CHOSEN,
                      .type = NOT_CHOSEN,
                      .with = NOT_CHOSEN,
                      .k = NOT_GIVEN};
  const struct cli_option options[] = {
      {0, "cat", CLI_OPTION_FLAG, &o.cat, NULL, "write the rows of all SETs as one set"},
      {'t', "to", CLI_OPTION_CHOICE, &o.format, "safetensors|npy|f32|tsv|word2vec|projector",
       "the format to write"},
      {0, "dim", CLI_OPTION_SIZE, &o.dim, "D", "the input is raw 32-bit floats, D to a row"},
      {0, "from", CLI_OPTION_CHOICE, &o.states.from, "vllm|npz|pt-safetensors",
       "the input is hidden states that another program saved"},
      {0, "axes", CLI_OPTION_STRING, &o.states.axes, "LIST",
       "their axes in order, of layers, positions, batch, d"},
      {0, "layer", CLI_OPTION_STRING, &o.states.layers, "L[,L..]", "the layers to read (all)"},
      {0, "layer-ids", CLI_OPTION_STRING, &o.states.of_file, "L[,L..]",
       "the layers that the file holds, in its order"},
      {'m', "model", CLI_OPTION_CHOICE, &o.model_format, "gguf|hf",
       "write the whole MODEL: GGUF, for llama.cpp, or a folder"},
      {0, "type", CLI_OPTION_CHOICE, &o.type, "f32|f16|bf16|q8_0",
       "with --model gguf: the type of its matrices (f32)"},
      {0, "shuffle-weights", CLI_OPTION_LIST, &o.shuffle, "SEED",
       "with --model hf: each tensor's entries in a random order"},
      {0, "patch-rows", CLI_OPTION_STRING, &o.patch, "TABLE",
       "with --model hf: other rows for the tokens of TABLE (id)"},
      {0, "with", CLI_OPTION_CHOICE, &o.with, "mean|neighbours|text",
       "what they become: the mean of which other rows"},
      {'k', "neighbours", CLI_OPTION_SIZE, &o.k, "K", "with --with neighbours: how many (10)"},
      {0, "patch-output", CLI_OPTION_FLAG, &o.patch_output, NULL,
       "with --patch-rows: in the output matrix of an untied model too"},
  };
  const struct cli_tool tool = {
      .name = "nk-convert",
      .summary = "a vector set in other programs' formats",
      .usage = "--to | --from | --cat | --model FORMAT [OPTION]... [FILE]...",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .example = "nk-extract data/gpt2-tiny | nk-convert --to npy -o wte.npy",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, SIZE_MAX);
  int code = check_usage(&o, &run);
  if (code == NK_OK)
    code = o.cat                          ? cat_sets(&run)
           : o.states.from != NOT_CHOSEN  ? convert_states(&run, &o.states)
           : o.model_format != NOT_CHOSEN ? convert_model(&run, &o)
           : o.format != NOT_CHOSEN
               ? convert_set(&run, o.format, o.dim)
               : nk_fail(NK_EUSAGE, "--to FORMAT is needed (%s)", options[1].argument);
  cli_strings_free(&o.shuffle);
  return cli_end(&run, code);
}
