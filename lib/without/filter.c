/* SPDX-License-Identifier: MIT */
/* Without filters: a consumer chooses by pattern and lane only. */
#include "filter.h"

#include "absent.h"

const char *bb_filter_refusal(void)
{
    return BB_ABSENT("a filter", "filters");
}

int bb_filter_copy(const busbar_filter *filter, bb_filter **out_filter)
{
    *out_filter = NULL;
    return filter ? BUSBAR_ENOTSUP : BUSBAR_OK;
}

void bb_filter_free(bb_filter *filter)
{
    (void)filter;
}

bool bb_filter_match(const bb_filter *filter, const busbar_record *record)
{
    (void)filter;
    (void)record;
    return true;
}

bool bb_filter_needs_only_kind(const bb_filter *filter)
{
    (void)filter;
    return true;
}

void bb_filter_text(const bb_filter *filter, bb_text *out)
{
    (void)filter;
    (void)out;
}
