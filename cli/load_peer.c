/* ferry load --bench: load_file of safetensors with torch, and torch alone, in a process of its own,
 * where Python has them. It imports what it needs first, and then loads each time it is told to. */
#include "load_bench.h"

#include "common/env.h"
#include "common/show.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* On the CPU load_file maps the files: a copy of each tensor is what reads them. Torch alone does the
 * same without the package: it maps each file and copies the bytes of each tensor that the header
 * names. */
static const char script[] =
    "import json, os, struct, sys, time\n"
    "device, files = sys.argv[1], sys.argv[2:]\n"
    "def words(error):\n"
    "    return ' '.join((type(error).__name__ + ': ' + str(error)).split())[:200]\n"
    "try:\n"
    "    import torch\n"
    "    torch.zeros(1, device=device)\n"
    "except Exception as error:\n"
    "    print('absent', words(error), flush=True)\n"
    "    sys.exit()\n"
    "print('ready', 'torch', torch.__version__, 'on', device, flush=True)\n"
    "try:\n"
    "    from safetensors.torch import load_file\n"
    "    print('ready', 'load_file', flush=True)\n"
    "except Exception as error:\n"
    "    print('absent', words(error), flush=True)\n"
    "def by_load_file(file):\n"
    "    tensors = load_file(file, device=device)\n"
    "    return {name: one.clone() for name, one in tensors.items()} if device == 'cpu' else "
    "tensors\n"
    "def by_torch(file):\n"
    "    with open(file, 'rb') as header:\n"
    "        first = 8 + struct.unpack('<Q', header.read(8))[0]\n"
    "        tensors = json.loads(header.read(first - 8))\n"
    "    tensors.pop('__metadata__', None)\n"
    "    whole = torch.from_file(file, shared=False, size=os.path.getsize(file), "
    "dtype=torch.uint8)\n"
    "    parts = {name: whole[first + one['data_offsets'][0]:first + one['data_offsets'][1]]\n"
    "             for name, one in tensors.items()}\n"
    "    return {name: part.clone() if device == 'cpu' else part.to(device)\n"
    "            for name, part in parts.items()}\n"
    "ways = {'load_file': by_load_file, 'torch': by_torch}\n"
    "for line in sys.stdin:\n"
    "    began = time.perf_counter_ns()\n"
    "    try:\n"
    "        for file in files:\n"
    "            tensors = ways[line.strip()](file)\n"
    "            if device != 'cpu':\n"
    "                torch.cuda.synchronize(device)\n"
    "        print('took', time.perf_counter_ns() - began, flush=True)\n"
    "    except Exception as error:\n"
    "        print('failed', words(error), flush=True)\n";

/* Only CUDA's devices are torch's, too, and have the same numbers. */
static const char *device_of(const struct load_bench *bench, struct ferry_device_info *info)
{
    ferry_device_get_info(bench->device, info);
    return strncmp(info->name, "cuda:", 5) == 0 ? info->name : "cpu";
}

static enum ferry_model_format format_of(const struct load_bench *bench)
{
    struct ferry_model_info info;
    ferry_model_get_info(bench->model, &info);
    return info.format;
}

/* 0, or an errno. Python is looked for as the shell would, but not for those with another's rights. */
static int spawn(struct load_peer *peer, const int in[2], const int out[2], char **arguments)
{
    if (!ferry__env("PATH"))
        return ENOENT;
    peer->pid = fork();
    if (peer->pid < 0)
        return errno;
    if (peer->pid > 0)
        return 0;
    signal(SIGPIPE, SIG_DFL);
    if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
        execvp(arguments[0], arguments);
    static const char words[] = "absent there is no python3\n";
    (void)!write(STDOUT_FILENO, words, sizeof words - 1);
    _exit(127);
}

static bool make_pipe(int out[2])
{
    if (pipe(out))
        return false;
    return fcntl(out[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(out[1], F_SETFD, FD_CLOEXEC) == 0;
}

static void close_pipe(const int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

/* None of the ways can be gone. */
static void lack(struct load_peer *peer, const char *words)
{
    for (int i = 0; i < LOAD_PEERS; i++)
        ferry__show_text(peer->why[i], sizeof peer->why[i], words);
}

/* "WORD rest": the rest, where the line begins so; else why it does not, shown in out_why. */
static const char *answer(struct load_peer *peer, const char *word, char *line, size_t capacity,
                          char out_why[256])
{
    if (!fgets(line, (int)capacity, peer->from)) {
        lack(peer, "Python ended without saying why");
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    const size_t length = strlen(word);
    if (strncmp(line, word, length) == 0 && line[length] == ' ')
        return line + length + 1;
    const char *rest = strchr(line, ' ');
    ferry__show_text(out_why, 256, rest ? rest + 1 : line);
    return NULL;
}

static char **make_arguments(const struct load_bench *bench, const char *device)
{
    struct ferry_model_info info;
    ferry_model_get_info(bench->model, &info);
    char **arguments = calloc(info.files + 5, sizeof *arguments);
    if (!arguments)
        return NULL;
    const char *const first[] = {"python3", "-c", script, device};
    memcpy(arguments, first, sizeof first);
    for (size_t i = 0; i < info.files; i++)
        arguments[4 + i] = (char *)(uintptr_t)ferry_model_file_name(bench->model, i);
    return arguments;
}

/* Torch is what both ways need; load_file has to be there, too. */
static void ask(struct load_peer *peer)
{
    char line[256], why[256] = "";
    const char *rest = answer(peer, "ready", line, sizeof line, why);
    if (rest) {
        ferry__show_text(peer->what, sizeof peer->what, rest);
        (void)answer(peer, "ready", line, sizeof line, peer->why[0]);
    } else if (why[0])
        lack(peer, why);
}

static void begin(struct load_peer *peer, const struct load_bench *bench)
{
    struct ferry_device_info info;
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    char **arguments = make_arguments(bench, device_of(bench, &info));
    int error = arguments && make_pipe(in) && make_pipe(out) ? 0 : ENOMEM;
    if (!error)
        error = spawn(peer, in, out, arguments);
    free(arguments);
    if (error) {
        close_pipe(in);
        close_pipe(out);
        char why[256];
        snprintf(why, sizeof why, "python3: %s", strerror(error));
        lack(peer, why);
        return;
    }
    close(in[0]);
    close(out[1]);
    peer->to = in[1];
    peer->from = fdopen(out[0], "r");
    if (!peer->from) {
        close(out[0]);
        lack(peer, "out of host memory");
        return;
    }
    ask(peer);
}

void load_peer_start(struct load_peer *peer, const struct load_bench *bench)
{
    *peer = (struct load_peer){.to = -1};
    peer->on_pipe = signal(SIGPIPE, SIG_IGN); /* it may end whenever it likes */
    if (format_of(bench) == FERRY_MODEL_SAFETENSORS)
        begin(peer, bench);
    else
        lack(peer, "the model is not in the safetensors format");
}

bool load_peer_round(struct load_peer *peer, enum load_way way, uint64_t *out_ns)
{
    const char *const orders[LOAD_PEERS] = {"load_file\n", "torch\n"};
    const int which = (int)way - LOAD_FILE;
    const size_t length = strlen(orders[which]);
    char line[256];
    if (peer->why[which][0])
        return false;
    if (write(peer->to, orders[which], length) != (ssize_t)length) {
        lack(peer, "Python has ended");
        return false;
    }
    const char *rest = answer(peer, "took", line, sizeof line, peer->why[which]);
    if (rest)
        *out_ns = strtoull(rest, NULL, 10);
    return rest;
}

void load_peer_stop(struct load_peer *peer)
{
    if (peer->to >= 0)
        close(peer->to);
    if (peer->from)
        fclose(peer->from);
    while (peer->pid > 0 && waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    signal(SIGPIPE, peer->on_pipe);
}
