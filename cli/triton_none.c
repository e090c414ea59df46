/* ferry triton, in a build without the Triton integration. */
#include "cli.h"

enum cli_exit cli_triton(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    cli_complain("triton: this build has no Triton integration: configure with -DFERRY_TRITON=ON");
    return CLI_USAGE;
}
