# What the llama engine refuses, by a module that says of itself what no shipped model has: this
# needs no llama.cpp.
bats_require_minimum_version 1.5.0

setup_file() {
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
  cat >module.c <<'C'
#include "forward/llama.h"

#ifndef VERSION
#define VERSION NKI_LLAMA_VERSION
#endif

/* A model of four blocks whose graph does not show what enters the third. */
static bool layers[5] = {true, true, false, true, true};
static const struct nki_llama_facts facts = {
    .architecture = "odd\n",
    .shape = {.n_layers = 4, .dim = 128, .n_vocabulary = 8192, .n_positions = 256,
              .n_heads = 4, .n_kv_heads = 4, .head_dim = 32},
    .n_tokens = 8192, .most_sequences = 256, .layers = layers,
#ifdef LOOKUP
    .other_lookup = "per_layer_token_embd.weight",
#endif
};
static int (*fail)(int code, const char *format, ...);

static struct nki_llama *open_model(const struct nki_llama_open *how) {
  fail = how->fail;
  return (struct nki_llama *)layers;
}
static void free_model(struct nki_llama *llama) { (void)llama; }
static const struct nki_llama_facts *get_facts(const struct nki_llama *llama) {
  (void)llama;
  return &facts;
}
static int prepare(struct nki_llama *llama, const struct nki_llama_room *room) {
  (void)llama;
  return fail(NK_EMEMORY, "room for %zu sequences", room->n_sequences);
}
static void embeddings(const struct nki_llama *llama, size_t first, size_t n, float *out) {
  (void)llama;
  for (size_t i = 0; i < n * facts.shape.dim; i++) out[i] = (float)first;
}
const struct nki_llama_module noken_llama_module = {
    .version = VERSION, .open = open_model, .free = free_model, .facts = get_facts,
    .prepare = prepare, .embeddings = embeddings,
};
C
  for kind in plain VERSION=77 LOOKUP=1; do
    mkdir "$kind"
    cc -shared -fPIC -D"$kind" -I "$DATA/../include" -I "$DATA/../lib" module.c -o "$kind/llama.so"
  done
  nk-convert --model gguf "$DATA/llama-tiny" -o llama-tiny.gguf
  nk-extract "$DATA/llama-tiny" --ids 300-302 -o vectors.safetensors
}

setup() {
  cd "$BATS_FILE_TMPDIR"
}

# refused MODULE MESSAGE OPTION...
refused() {
  NOKEN_ENGINES=$PWD/$1 run -1 nk-run -q --engine llama llama-tiny.gguf -p 'The {} of' "${@:3}"
  [ "$output" = "nk-run: $2" ] || { echo "$output"; return 1; }
}

@test "a stream that the graph does not show is neither read nor replaced" {
  for how in "override 1::--at 2 --capture 3 vectors.safetensors" "ask 0::--ids 300 --capture 2"; do
    refused plain "${how%%::*}: layer 2: llama.cpp's graph of architecture 'odd\\n' does not have \
this stream" ${how#*::}
  done
  refused plain "room for 4 sequences" --ids 300-302 --capture 3
}

@test "vectors are refused where ids are looked up twice, and tokens are not" {
  refused LOOKUP=1 "override 0: layer 0: architecture 'odd\\n' looks ids up in tensor \
'per_layer_token_embd.weight' as well" --capture 3 vectors.safetensors
  refused LOOKUP=1 "room for 4 sequences" --ids 300-302 --capture 3
}

@test "a module of another version is refused" {
  refused VERSION=77 "$PWD/VERSION=77/llama.so is not a module of noken \
$(nk-run --version | sed -n '1s/.* //p'): install that of the same version" --ids 300
}
