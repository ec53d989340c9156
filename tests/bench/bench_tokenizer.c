/* The tokenizer: bytes of English-like text per second on one core, against 20 MB/s; and a
 * tokenizer.json of 262,144 tokens and 30 MB, against 1.5 s and 600 MiB. nk-tokens --scan over
 * SCANS copies of the same text, by two threads, against 50 MB/s and 100 MiB.
 * The text is made of the tokenizer's own words, the r-th as often as 1/r (Zipf), every thirtieth
 * joined to another into a word that is not a token; with punctuation and lines.
 * All are given in processor time, which other load affects least: of a scan half of what its two
 * threads take.
 *   bench_tokenizer TOKENIZER TEXT    measures a given text */
#include "bench.h"

#include <math.h>
#include <noken/noken.h>
#include "base/random.h"

enum { TEXT_BYTES = 16 << 20, REPEATS = 3, BIG_TOKENS = 262144, BIG_BYTES = 30000000, SCANS = 8 };

static void stop(void) {
  fprintf(stderr, "%s\n", nk_error());
  exit(2);
}

/* ---- Text ---- */

/* The ids of the tokens that are a space and letters. */
static size_t find_words(const struct nk_tokenizer *vocabulary, size_t *words) {
  size_t n_words = 0, n;
  for (size_t id = 0; id < nk_tokenizer_n_tokens(vocabulary); id++) {
    const char *s = nk_tokenizer_bytes(vocabulary, id, &n);
    bool letters = (s != NULL) && n > 1 && s[0] == ' ';
    for (size_t i = 1; letters && i < n; i++)
      letters = (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z';
    if (letters) words[n_words++] = id;
  }
  return n_words;
}

static struct nk_buffer make_text(const struct nk_tokenizer *vocabulary) {
  struct nki_random random = nki_random_stream(0, NKI_RANDOM_TEST, 0);
  struct nk_buffer text = {0};
  size_t *words = nk_alloc(nk_tokenizer_n_tokens(vocabulary), sizeof *words), n, count = 0;
  if (words == NULL) stop();
  size_t n_words = find_words(vocabulary, words);
  while (text.size < TEXT_BYTES) {
    /* n to the power of a uniform number has a density of 1/r. */
    size_t rank = (size_t)pow((double)n_words, nki_random_uniform(&random)) - 1;
    const char *word = nk_tokenizer_bytes(vocabulary, words[rank], &n);
    bool joined = ++count % 30 == 0; /* no space before it */
    nk_buffer_append(&text, word + joined, n - joined);
    if (count % 11 == 0) nk_buffer_byte(&text, ',');
    if (count % 17 == 0) nk_buffer_byte(&text, '.');
    if (count % 97 == 0) nk_buffer_text(&text, " It's 1984.\n\n");
  }
  nk_free(words);
  return text;
}

/* ---- Encoding and scanning ---- */

struct job {
  const struct nk_tokenizer *tokenizer;
  struct nk_buffer text;
  size_t n_ids;
};

/* The least processor time in seconds of a few encodings. */
static double encode(struct job *job) {
  double least = 1e300;
  for (int i = 0; i < REPEATS; i++) {
    int64_t *ids;
    clock_t start = clock();
    if (nk_tokenizer_encode(job->tokenizer, job->text.data, job->text.size, 0, &ids, &job->n_ids) !=
        NK_OK)
      stop();
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds < least) least = seconds;
    nk_free(ids);
  }
  return least;
}

/* The processor time of the commands run so far. */
static double children_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Scans the text SCANS times over for the tokens 500 to 509, which it holds. */
static void scan(const char *name, const char *path, const struct nk_buffer *text) {
  char file[] = "/tmp/noken-bench-XXXXXX", list[] = "/tmp/noken-bench-XXXXXX", command[4800],
       line[64];
  int fd = mkstemp(file), fd_list = mkstemp(list);
  if (fd < 0 || fd_list < 0) exit(2);
  for (int i = 0; i < SCANS; i++)
    if (write(fd, text->data, text->size) != (ssize_t)text->size) exit(2);
  dprintf(fd_list, "id\n");
  for (int id = 500; id < 510; id++) dprintf(fd_list, "%d\n", id);
  close(fd);
  close(fd_list);
  snprintf(command, sizeof command,
           "%s/nk-tokens --threads 2 --scan %s --with %s --summary %s >/dev/null", bench_tools(),
           file, list, path);
  double before = children_seconds();
  struct bench_child child = bench_command(command);
  double seconds = (children_seconds() - before) / 2, megabytes = SCANS * (double)text->size / 1e6;
  printf("scan %s: %.0f MB in %.3f s of two processors (%.3f s by the clock), %.0f MB/s\n", name,
         megabytes, seconds, child.seconds, megabytes / seconds);
  snprintf(line, sizeof line, "scan-%s-to-50MB/s", name);
  bench_ratio(line, seconds / (megabytes / 50), 1);
  snprintf(line, sizeof line, "scan-%s-memory-to-100MiB", name);
  bench_ratio(line, child.mebibytes / 100, 1);
  unlink(file);
  unlink(list);
}

static void measure(const char *name, const char *path, const char *text_path) {
  char line[64];
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(path);
  if (tokenizer == NULL) stop();
  struct job job = {.tokenizer = tokenizer};
  if (text_path != NULL) {
    struct nk_file *file = nk_file_open(text_path);
    if (file == NULL) stop();
    while (job.text.size < TEXT_BYTES && file->size != 0)
      nk_buffer_append(&job.text, file->data, file->size);
    nk_file_free(file);
  } else {
    job.text = make_text(tokenizer);
  }
  double seconds = encode(&job), megabytes = (double)job.text.size / 1e6;
  printf("encode %s: %.1f MB in %.3f s, %.0f MB/s, %.2f bytes a token\n", name, megabytes, seconds,
         megabytes / seconds, (double)job.text.size / (double)job.n_ids);
  snprintf(line, sizeof line, "encode-%s-to-20MB/s", name);
  bench_ratio(line, seconds / (megabytes / 20), 1);
  scan(name, path, &job.text);
  nk_buffer_free(&job.text);
  nk_tokenizer_free(tokenizer);
}

/* ---- Loading ---- */

/* Token i of the big vocabulary: 64 letters, then pairs of earlier tokens, numbered so that all
 * strings differ. */
static void write_token(FILE *file, size_t i) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  if (i >= 64) write_token(file, i / 64 - 1);
  fputc(letters[i % 64], file);
}

/* A byte-level BPE of 262,144 tokens, white space bringing it to 30 MB as pretty-printing does. */
static void write_big(const char *path) {
  FILE *file = fopen(path, "w");
  if (file == NULL) exit(2);
  fputs(
      "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null,\n"
      "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},\n"
      "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\n",
      file);
  for (size_t i = 0; i < BIG_TOKENS; i++) {
    fprintf(file, "%s%24s\"", i != 0 ? ",\n" : "", "");
    write_token(file, i);
    fprintf(file, "\": %zu", i);
  }
  fputs("},\n\"merges\": [", file);
  for (size_t i = 64; i < BIG_TOKENS; i++) {
    fprintf(file, "%s%12s[\n%16s\"", i > 64 ? ",\n" : "", "", "");
    write_token(file, i / 64 - 1);
    fputs("\",\n                \"", file);
    write_token(file, i % 64);
    fputs("\"]", file);
  }
  fputs("]}}", file);
  for (long left = BIG_BYTES - ftell(file); left > 0; left--) fputc('\n', file);
  if (fclose(file) != 0) exit(2);
}

static void load_big(void) {
  char path[] = "/tmp/noken-bench-XXXXXX", command[4200];
  int fd = mkstemp(path);
  if (fd < 0) exit(2);
  close(fd);
  write_big(path);
  snprintf(command, sizeof command, "%s/nk-tokens --encode x %s >/dev/null", bench_tools(), path);
  struct bench_child child = {0};
  double least = 1e300, sum = children_seconds();
  for (int i = 0; i < REPEATS; i++) {
    child = bench_command(command);
    double seconds = children_seconds() - sum;
    sum += seconds;
    if (seconds < least) least = seconds;
  }
  printf("load %d tokens, 30 MB: %.3f s, %.0f MiB resident\n", BIG_TOKENS, least, child.mebibytes);
  bench_ratio("load-to-1.5s", least / 1.5, 1);
  bench_ratio("load-memory-to-600MiB", child.mebibytes / 600, 1);
  unlink(path);
}

/* The path of one of llama.cpp's vocabularies: beside the repository, or what setup.sh --test-data
 * made. False where there is none. */
static bool find_vocabulary(const char *name, char *path, size_t size) {
  const char *made = getenv("NOKEN_TEST_DATA"), *cache = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  char own[2000];
  const char *roots[] = {"../shared/data", "../../shared/data", own};
  if (made != NULL)
    snprintf(own, sizeof own, "%s", made);
  else if (cache != NULL && cache[0] != 0)
    snprintf(own, sizeof own, "%s/noken/test-data", cache);
  else
    snprintf(own, sizeof own, "%s/.cache/noken/test-data", home != NULL ? home : "");
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
    snprintf(path, size, "%s/vocab/ggml-vocab-%s.gguf", roots[i], name);
    if (access(path, R_OK) == 0) return true;
  }
  return false;
}

int main(int argc, char **argv) {
  static const char *const names[] = {"gpt-2", "llama-bpe", "llama-spm"};
  if (argc == 3) {
    measure("text", argv[1], argv[2]);
    return bench_over;
  }
  bench_title("tokenizer: a 30 MB file, and text on one core");
  load_big();
  measure("gpt2-tiny", "data/gpt2-tiny", NULL);
  for (size_t i = 0; i < 3; i++) {
    char path[2100];
    if (find_vocabulary(names[i], path, sizeof path))
      measure(names[i], path, NULL);
    else
      printf("no vocabulary %s: run ./setup.sh --test-data\n", names[i]);
  }
  return bench_over;
}
