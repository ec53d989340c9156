/* nk-convert: a vector set in other programs' formats and out of them, a model as GGUF or as a
 * folder. */
#include <stdint.h>
#include <string.h>

#include "cli/tool.h"
#include "convert/cat.h"
#include "convert/model.h"
#include "convert/states.h"
#include "convert/write.h"

enum { NOT_CHOSEN = -1 };
#define NOT_GIVEN SIZE_MAX /* of --dim */

struct options {
  bool cat;   /* sets one after another */
  int format; /* enum convert_format */
  size_t dim; /* of raw floats; NOT_GIVEN: the input is a set */
  struct convert_states states;
  struct convert_model model;
};

/* ---- A set ---- */

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
  if (set != NULL && file->size > 0) memcpy(nk_vectors_writable(set), file->data, file->size);
  nk_file_free(file);
  return set;
}

static int convert_set(const struct cli_run *run, enum convert_format format, size_t dim) {
  const char *path = cli_operand(run, 0);
  struct nk_vectors *set = dim != NOT_GIVEN ? read_floats(path, dim) : nk_vectors_read(path);
  if (set == NULL) return nk_error_code();
  int code = convert_write(run, format, set);
  nk_vectors_free(set);
  return code;
}

/* ---- Usage ---- */

static int check_cat(const struct cli_run *run, const struct options *o) {
  if (o->format > CONVERT_TO_SAFETENSORS || o->model.format != CONVERT_NOT_CHOSEN ||
      o->dim != NOT_GIVEN || o->states.from != NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--cat takes sets and writes a set: pipe it to nk-convert --to");
  if (run->n_operands == 0) return nk_fail(NK_EUSAGE, "--cat: the operands SET... are missing");
  return NK_OK;
}

/* What a set and a model do not share. */
static int check_usage(const struct options *o, const struct cli_run *run) {
  bool is_model = o->model.format != CONVERT_NOT_CHOSEN, from = o->states.from != NOT_CHOSEN;
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
  return is_model ? NK_OK : convert_check_no_model(&o->model);
}

int main(int argc, char **argv) {
  struct options o = {.format = NOT_CHOSEN,
                      .dim = NOT_GIVEN,
                      .states = {.from = NOT_CHOSEN},
                      .model = {.format = CONVERT_NOT_CHOSEN,
                                .type = CONVERT_NOT_CHOSEN,
                                .with = CONVERT_NOT_CHOSEN,
                                .k = NOT_GIVEN}};
  const struct cli_option options[] = {
      {0, "cat", CLI_OPTION_FLAG, &o.cat, NULL, "write the rows of all SETs as one set"},
      {'t', "to", CLI_OPTION_CHOICE, &o.format, "safetensors|npy|f32|tsv|word2vec|projector",
       "the format to write (projector: into the folder of -o)"},
      {0, "dim", CLI_OPTION_SIZE, &o.dim, "D", "the input is raw 32-bit floats, D to a row"},
      {0, "from", CLI_OPTION_CHOICE, &o.states.from, "vllm|npz|pt-safetensors",
       "the input is hidden states that another program saved"},
      {0, "axes", CLI_OPTION_STRING, &o.states.axes, "LIST",
       "their axes in order, of layers, positions, batch, d"},
      {0, "layer", CLI_OPTION_STRING, &o.states.layers, "L[,L..]", "the layers to read (all)"},
      {0, "layer-ids", CLI_OPTION_STRING, &o.states.of_file, "L[,L..]",
       "the layers that the file holds, in its order"},
      {'m', "model", CLI_OPTION_CHOICE, &o.model.format, "gguf|hf",
       "write the whole MODEL: GGUF, for llama.cpp, or into the folder of -o"},
      {0, "type", CLI_OPTION_CHOICE, &o.model.type, "f32|f16|bf16|q8_0",
       "with --model gguf: the type of its matrices (f32)"},
      {0, "shuffle-weights", CLI_OPTION_LIST, &o.model.shuffle, "SEED",
       "with --model hf: each tensor's entries in a random order"},
      {0, "patch-rows", CLI_OPTION_STRING, &o.model.patch, "TABLE",
       "with --model hf: other rows for the tokens of TABLE (id)"},
      {0, "with", CLI_OPTION_CHOICE, &o.model.with, "mean|neighbours|text",
       "what they become: the mean of which other rows"},
      {'k', "neighbours", CLI_OPTION_SIZE, &o.model.k, "K",
       "with --with neighbours: how many (10)"},
      {0, "patch-output", CLI_OPTION_FLAG, &o.model.patch_output, NULL,
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
    code = o.cat                                  ? convert_cat(&run)
           : o.states.from != NOT_CHOSEN          ? convert_states(&run, &o.states)
           : o.model.format != CONVERT_NOT_CHOSEN ? convert_model(&run, &o.model)
           : o.format != NOT_CHOSEN
               ? convert_set(&run, (enum convert_format)o.format, o.dim)
               : nk_fail(NK_EUSAGE, "--to FORMAT is needed (%s)", options[1].argument);
  cli_strings_free(&o.model.shuffle);
  return cli_end(&run, code);
}
