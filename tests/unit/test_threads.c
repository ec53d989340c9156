/* The number of threads belongs to the thread that sets it. */
#include "unit.h"

#include <pthread.h>
#include <unistd.h>

/* What one thread of the program sees. */
struct view {
  size_t set; /* threads it asks for; SIZE_MAX: it asks for none */
  size_t at_first, after, in_parallel, restored;
  pthread_barrier_t *barrier;
};

/* How many threads a parallel region has, opened as the library opens its own. */
static size_t parallel_size(void) {
  size_t n = 0;
#pragma omp parallel reduction(+ : n)
  n += 1;
  return n;
}

static void *look(void *argument) {
  struct view *view = argument;
  view->at_first = nk_threads();
  pthread_barrier_wait(view->barrier);
  if (view->set != SIZE_MAX) nk_set_threads(view->set);
  pthread_barrier_wait(view->barrier); /* all have set theirs */
  view->after = nk_threads();
  view->in_parallel = parallel_size();
  pthread_barrier_wait(view->barrier);
  nk_set_threads(0);
  view->restored = nk_threads();
  return NULL;
}

static void every_calling_thread_has_the_number_that_it_set(void **state) {
  (void)state;
  enum { N = 3 };
  pthread_barrier_t barrier;
  pthread_t threads[N];
  struct view views[N] = {{.set = 1}, {.set = 3}, {.set = SIZE_MAX}};
  size_t usual = nk_threads();
  assert_int_equal(pthread_barrier_init(&barrier, NULL, N), 0);
  for (int i = 0; i < N; i++) {
    views[i].barrier = &barrier;
    assert_int_equal(pthread_create(&threads[i], NULL, look, &views[i]), 0);
  }
  for (int i = 0; i < N; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  for (int i = 0; i < N; i++) {
    size_t want = views[i].set == SIZE_MAX ? usual : views[i].set;
    assert_int_equal(views[i].at_first, usual);
    assert_int_equal(views[i].after, want);
    assert_int_equal(views[i].in_parallel, want);
    assert_int_equal(views[i].restored, usual);
  }
  assert_int_equal(nk_threads(), usual); /* of the thread that set none */
  pthread_barrier_destroy(&barrier);
}

/* A program with OMP_NUM_THREADS=5 gets 5 again by 0, whatever the processor has. */
static void zero_is_what_the_environment_says(void **state) {
  (void)state;
  nk_set_threads(2);
  assert_int_equal(nk_threads(), 2);
  nk_set_threads(0);
  assert_int_equal(nk_threads(), 5);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_calling_thread_has_the_number_that_it_set),
      cmocka_unit_test(zero_is_what_the_environment_says),
  };
  if (argc == 1) { /* OpenMP reads its environment before main */
    setenv("OMP_NUM_THREADS", "5", 1);
    execl("/proc/self/exe", argv[0], "again", (char *)NULL);
    return 1;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
