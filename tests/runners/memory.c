/* memory make FOLDER VOCABULARY DIM LAYERS MLP: a Llama of that shape with made-up weights in BF16,
 * whose heads have 64 or 128 components; without layers one matrix, tied. Its tokenizer has words
 * of five letters.
 * memory run COMMAND...: runs the command with its output thrown away and prints the most that it
 * had in memory: KiB of its own, of mapped files, and of both at once by the kernel's count; then
 * its seconds. Its own pages and those of files are counted each millisecond. Ends with the
 * command's status. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(2);
}

static FILE *create(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  if (file == NULL) fail(path);
  return file;
}

static void finish(FILE *file) {
  if (ferror(file) || fclose(file) != 0) fail("write");
}

/* ---- A model ---- */

enum { PADDING = 64, POOL = 1 << 22, BLOCK_PARTS = 9 };

struct tensor {
  char name[96];
  size_t rows, columns; /* columns 0: a vector of ones */
};

struct model {
  size_t vocabulary, dim, layers, mlp;
  struct tensor *tensor;
  size_t n;
};

static uint16_t bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)((bits + 0x8000) >> 16);
}

/* Sums of three uniform numbers, of standard deviation `size`. */
static uint16_t *make_pool(float size) {
  uint16_t *pool = malloc(POOL * sizeof *pool);
  if (pool == NULL) fail("malloc");
  uint64_t state = 88172645463325252u;
  for (size_t i = 0; i < POOL; i++) {
    float sum = 0;
    for (int k = 0; k < 3; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += (float)(state >> 40) / 16777216.0f - 0.5f;
    }
    pool[i] = bf16(2 * sum * size);
  }
  return pool;
}

static void add(struct model *m, size_t layer, const char *name, size_t rows, size_t columns) {
  struct tensor *t = &m->tensor[m->n++];
  char prefix[32] = "model.";
  if (layer < m->layers) snprintf(prefix, sizeof prefix, "model.layers.%zu.", layer);
  snprintf(t->name, sizeof t->name, "%s%s.weight", strcmp(name, "lm_head") == 0 ? "" : prefix,
           name);
  t->rows = rows;
  t->columns = columns;
}

static void list_tensors(struct model *m) {
  size_t d = m->dim;
  m->tensor = calloc(m->layers * BLOCK_PARTS + 3, sizeof *m->tensor);
  if (m->tensor == NULL) fail("calloc");
  add(m, m->layers, "embed_tokens", m->vocabulary, d);
  for (size_t layer = 0; layer < m->layers; layer++) {
    add(m, layer, "input_layernorm", d, 0);
    add(m, layer, "self_attn.q_proj", d, d);
    add(m, layer, "self_attn.k_proj", d, d);
    add(m, layer, "self_attn.v_proj", d, d);
    add(m, layer, "self_attn.o_proj", d, d);
    add(m, layer, "post_attention_layernorm", d, 0);
    add(m, layer, "mlp.gate_proj", m->mlp, d);
    add(m, layer, "mlp.up_proj", m->mlp, d);
    add(m, layer, "mlp.down_proj", d, m->mlp);
  }
  if (m->layers == 0) return;
  add(m, m->layers, "norm", d, 0);
  add(m, m->layers, "lm_head", m->vocabulary, d);
}

static size_t n_values(const struct tensor *t) {
  return t->rows * (t->columns > 0 ? t->columns : 1);
}

static void write_header(const struct model *m, FILE *file) {
  size_t size = 0, room = 256 * m->n + 16, used = 0;
  char *text = malloc(room);
  if (text == NULL) fail("malloc");
  for (size_t i = 0; i < m->n; i++) {
    const struct tensor *t = &m->tensor[i];
    char shape[64];
    snprintf(shape, sizeof shape, t->columns > 0 ? "%zu,%zu" : "%zu", t->rows, t->columns);
    used +=
        (size_t)snprintf(text + used, room - used,
                         "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         i == 0 ? "{" : ",", t->name, shape, size, size + 2 * n_values(t));
    size += 2 * n_values(t);
  }
  text[used++] = '}';
  while (used % 8 != 0) text[used++] = ' ';
  uint64_t length = used;
  fwrite(&length, sizeof length, 1, file);
  fwrite(text, 1, used, file);
  free(text);
}

/* Each row is a piece of the pool: another one than any other row of its tensor. The last rows of
 * the embedding, of no token, are as those that training never moved: 64 times smaller. */
static void write_weights(const struct model *m, FILE *file) {
  uint16_t *pool = make_pool(0.02f), *small = make_pool(0.02f / 64), one = bf16(1);
  for (size_t i = 0; i < m->n; i++) {
    const struct tensor *t = &m->tensor[i];
    for (size_t row = 0; row < t->rows; row++) {
      size_t at = (row * 1000003 + i * 7919) % (POOL - t->columns);
      bool padding = t->rows == m->vocabulary && row + PADDING >= t->rows;
      if (t->columns == 0)
        fwrite(&one, sizeof one, 1, file);
      else
        fwrite((padding ? small : pool) + at, sizeof *pool, t->columns, file);
    }
  }
  free(pool);
  free(small);
}

static void write_tokenizer(const struct model *m, FILE *file) {
  fprintf(file,
          "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":null,"
          "\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"Unigram\","
          "\"unk_id\":0,\"vocab\":[[\"<unk>\",0]");
  for (size_t id = 1; id < m->vocabulary - PADDING; id++) {
    char word[6] = "";
    for (size_t i = 5, rest = id; i-- > 0; rest /= 26) word[i] = (char)('a' + rest % 26);
    fprintf(file, ",[\"%s\",-10]", word);
  }
  fprintf(file, "]}}\n");
}

static void write_config(const struct model *m, FILE *file) {
  fprintf(file,
          "{\"model_type\": \"llama\", \"vocab_size\": %zu, \"hidden_size\": %zu, "
          "\"num_attention_heads\": %zu, \"num_hidden_layers\": %zu, \"intermediate_size\": %zu, "
          "\"max_position_embeddings\": 2048, \"rms_norm_eps\": 1e-05, \"hidden_act\": \"silu\", "
          "\"tie_word_embeddings\": %s}\n",
          m->vocabulary, m->dim, m->dim / (m->dim < 2048 ? 64 : 128), m->layers, m->mlp,
          m->layers == 0 ? "true" : "false");
}

static int make(char **argv) {
  struct model m = {.vocabulary = strtoull(argv[1], NULL, 10),
                    .dim = strtoull(argv[2], NULL, 10),
                    .layers = strtoull(argv[3], NULL, 10),
                    .mlp = strtoull(argv[4], NULL, 10)};
  mkdir(argv[0], 0777);
  list_tensors(&m);
  FILE *file = create(argv[0], "config.json");
  write_config(&m, file);
  finish(file);
  file = create(argv[0], "tokenizer.json");
  write_tokenizer(&m, file);
  finish(file);
  file = create(argv[0], "model.safetensors");
  write_header(&m, file);
  write_weights(&m, file);
  finish(file);
  free(m.tensor);
  return 0;
}

/* ---- A run ---- */

/* The number of a line "KEY: NUMBER kB" of a process' status; 0 where there is none. */
static long number_of(const char *status, const char *key) {
  const char *line = strstr(status, key);
  return line == NULL ? 0 : strtol(line + strlen(key), NULL, 10);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run(char **argv) {
  const struct timespec pause = {0, 1000000};
  char path[64], status[8192];
  long own = 0, files = 0;
  struct rusage usage;
  double start = now();
  int how;
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, STDOUT_FILENO) < 0) fail("/dev/null");
    execvp(argv[0], argv);
    fail(argv[0]);
  }
  if (child < 0) fail("fork");
  snprintf(path, sizeof path, "/proc/%ld/status", (long)child);
  while (wait4(child, &how, WNOHANG, &usage) == 0) {
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, status, sizeof status - 1);
    if (fd >= 0) close(fd);
    status[n > 0 ? n : 0] = 0;
    if (number_of(status, "RssAnon:") > own) own = number_of(status, "RssAnon:");
    if (number_of(status, "RssFile:") > files) files = number_of(status, "RssFile:");
    nanosleep(&pause, NULL);
  }
  printf("%ld %ld %ld %.1f\n", own, files, usage.ru_maxrss, now() - start);
  return WIFEXITED(how) ? WEXITSTATUS(how) : 128;
}

int main(int argc, char **argv) {
  if (argc == 7 && strcmp(argv[1], "make") == 0) return make(argv + 2);
  if (argc > 2 && strcmp(argv[1], "run") == 0) return run(argv + 2);
  fprintf(stderr, "usage: memory make FOLDER VOCABULARY DIM LAYERS MLP | memory run COMMAND...\n");
  return 2;
}
