/* A NIF in C: terms, binaries, resources, thread-local storage, threads of its own, dirty schedulers. */
#include <ctype.h>
#include <erl_nif.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Each thread has its own copy, begun with this value. */
static _Thread_local int calls = 1000;
static atomic_int counted;
static ErlNifResourceType *number_type;

static ERL_NIF_TERM add(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    long a, b;
    (void)argc;
    if (!enif_get_long(env, argv[0], &a) || !enif_get_long(env, argv[1], &b))
        return enif_make_badarg(env);
    return enif_make_long(env, a + b);
}

static ERL_NIF_TERM upper(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifBinary in;
    ERL_NIF_TERM out;
    (void)argc;
    if (!enif_inspect_binary(env, argv[0], &in))
        return enif_make_badarg(env);
    unsigned char *to = enif_make_new_binary(env, in.size, &out);
    for (size_t i = 0; i < in.size; i++)
        to[i] = toupper(in.data[i]);
    return out;
}

static ERL_NIF_TERM count(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc, (void)argv;
    int before = calls++;
    if (before < 1000)
        return enif_make_badarg(env);
    atomic_fetch_add(&counted, calls - before);
    return enif_make_int(env, calls);
}

static ERL_NIF_TERM get_counted(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc, (void)argv;
    return enif_make_int(env, atomic_load(&counted));
}

static void *thread(void *arg) {
    int mine = calls;
    for (int i = 0; i < 1000; i++)
        calls++;
    *(int *)arg = calls - mine + mine; /* 2000 in a thread that is new */
    return NULL;
}

static ERL_NIF_TERM in_threads(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    enum { MAX = 16 };
    pthread_t threads[MAX];
    int results[MAX], n, sum = 0;
    (void)argc;
    if (!enif_get_int(env, argv[0], &n) || n < 0 || n > MAX)
        return enif_make_badarg(env);
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, thread, &results[i]) != 0)
            return enif_make_badarg(env);
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        sum += results[i];
    }
    return enif_make_int(env, sum);
}

static ERL_NIF_TERM make(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    unsigned size;
    ERL_NIF_TERM out;
    (void)argc;
    if (!enif_get_uint(env, argv[0], &size))
        return enif_make_badarg(env);
    memset(enif_make_new_binary(env, size, &out), 7, size);
    return out;
}

static ERL_NIF_TERM resource(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    long value;
    (void)argc;
    if (!enif_get_long(env, argv[0], &value))
        return enif_make_badarg(env);
    long *held = enif_alloc_resource(number_type, sizeof *held);
    *held = value;
    ERL_NIF_TERM term = enif_make_resource(env, held);
    enif_release_resource(held);
    return term;
}

static ERL_NIF_TERM get(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    void *held;
    (void)argc;
    if (!enif_get_resource(env, argv[0], number_type, &held))
        return enif_make_badarg(env);
    return enif_make_long(env, *(long *)held);
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info) {
    (void)data, (void)info;
    number_type = enif_open_resource_type(env, NULL, "number", NULL, ERL_NIF_RT_CREATE, NULL);
    return number_type == NULL;
}

static ErlNifFunc functions[] = {
    {"add", 2, add, 0},
    {"upper", 1, upper, 0},
    {"count", 0, count, 0},
    {"dirty_count", 0, count, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"counted", 0, get_counted, 0},
    {"in_threads", 1, in_threads, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"make", 1, make, 0},
    {"resource", 1, resource, 0},
    {"get", 1, get, 0},
};

ERL_NIF_INIT(sc_nif_c, functions, load, NULL, NULL, NULL)
