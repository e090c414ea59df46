/* The configuration of the suite on a first driver: the shortest line there is, and one whose
 * staging is short. */
#include "suite.h"

const struct suite_config suite_configs[] = {
    {.name = "template", .params.name = "template"},
    {.name = "template-tiny-budget", .params.name = "template", .params.staging_budget = 4096},
};

const size_t suite_config_count = sizeof suite_configs / sizeof suite_configs[0];
