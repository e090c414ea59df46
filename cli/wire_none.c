/* ferry send, receive and bench --wire, in a build without the wire. */
#include "wire.h"

static enum cli_exit refuse(const char *command)
{
    cli_complain("%s: this build has no wire: configure with -DFERRY_WIRE=ON", command);
    return CLI_USAGE;
}

enum cli_exit cli_send(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return refuse("send");
}

enum cli_exit cli_receive(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return refuse("receive");
}

enum cli_exit wire_bench(const struct wire_options *options, const char *address, uint64_t size,
                         uint64_t time_ns, bool json)
{
    (void)options;
    (void)address;
    (void)size;
    (void)time_ns;
    (void)json;
    return refuse("bench");
}
