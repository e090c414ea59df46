#include "match.h"

#include "control.h"
#include "memory.h"
#include "receive.h"

#include <stdlib.h>
#include <string.h>

/* Which receive meets which send: those of one peer and tag in their order. */

static struct ferry__wire_tag *find_tag(ferry_peer *peer, uint64_t tag, bool make)
{
    struct ferry__wire_node *node = ferry__wire_map_find(&peer->tags, tag);
    if (node || !make)
        return node ? FERRY_WIRE_OF(node, struct ferry__wire_tag, node) : NULL;
    struct ferry__wire_tag *made = ferry__wire_alloc(sizeof *made);
    if (!made)
        return NULL;
    made->node.key = tag;
    made->announced_end = &made->announced;
    made->receives_end = &made->receives;
    if (ferry__wire_map_add(&peer->tags, &made->node))
        return made;
    free(made);
    return NULL;
}

static void drop_tag(ferry_peer *peer, struct ferry__wire_tag *tag)
{
    if (tag->announced || tag->receives)
        return;
    ferry__wire_map_remove(&peer->tags, &tag->node);
    free(tag);
}

static void meet(ferry_peer *peer, struct ferry__wire_transfer *receive,
                 struct ferry__wire_announced *announced)
{
    const struct ferry__wire_frame frame = {.type = FERRY_WIRE_MATCH,
                                            .number = announced->node.key};
    announced->receive = receive;
    receive->announced = announced;
    receive->remote = announced->node.key;
    receive->ready = announced->ready;
    ferry__wire_transfer_matched(receive);
    if (announced->chunk < receive->chunk_max)
        receive->chunk_max = announced->chunk;
    if (announced->size == receive->size) {
        ferry__wire_control_put(peer, &frame);
        ferry__wire_receive_pump(receive);
        return;
    }
    ferry__wire_transfer_fail(receive, FERRY_ERROR_INVALID_ARGUMENT,
                              "the send has %llu bytes, and the receive of tag %llu has %llu",
                              (unsigned long long)announced->size, (unsigned long long)receive->tag,
                              (unsigned long long)receive->size);
}

void ferry__wire_announce_came(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    struct ferry__wire_announced *announced = ferry__wire_alloc(sizeof *announced);
    struct ferry__wire_tag *tag = announced ? find_tag(peer, frame->tag, true) : NULL;
    const char *wrong = peer->announced_count >= FERRY_WIRE_ANNOUNCED_MAX ? "too many sends"
                        : ferry__wire_map_find(&peer->announced, frame->number)
                            ? "two sends of one number"
                        : !frame->chunk || frame->at ? "a send without chunks"
                                                     : NULL;
    if (!tag || wrong) {
        free(announced);
        ferry__wire_peer_end(peer, wrong ? FERRY_ERROR_IO : FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s",
                             wrong ? wrong : "no host memory for a send");
        return;
    }
    *announced = (struct ferry__wire_announced){.node.key = frame->number,
                                                .tag = frame->tag,
                                                .size = frame->size,
                                                .chunk = frame->chunk,
                                                .ready = frame->flags & 1};
    if (!ferry__wire_map_add(&peer->announced, &announced->node)) {
        free(announced);
        ferry__wire_peer_end(peer, FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a send");
        return;
    }
    struct ferry__wire_transfer *receive = tag->receives;
    if (!receive) {
        *tag->announced_end = announced;
        tag->announced_end = &announced->next;
        peer->announced_count++;
        return;
    }
    tag->receives = receive->tag_next;
    if (!tag->receives)
        tag->receives_end = &tag->receives;
    drop_tag(peer, tag);
    meet(peer, receive, announced);
}

bool ferry__wire_match_receive(struct ferry__wire_transfer *receive)
{
    ferry_peer *peer = receive->peer;
    struct ferry__wire_tag *tag = find_tag(peer, receive->tag, true);
    if (!tag)
        return false;
    struct ferry__wire_announced *announced = tag->announced;
    if (!announced) {
        receive->tag_next = NULL;
        *tag->receives_end = receive;
        tag->receives_end = &receive->tag_next;
        return true;
    }
    tag->announced = announced->next;
    if (!tag->announced)
        tag->announced_end = &tag->announced;
    peer->announced_count--;
    drop_tag(peer, tag);
    meet(peer, receive, announced);
    return true;
}

void ferry__wire_match_forget(struct ferry__wire_transfer *receive)
{
    struct ferry__wire_tag *tag = find_tag(receive->peer, receive->tag, false);
    if (!tag)
        return;
    for (struct ferry__wire_transfer **at = &tag->receives; *at; at = &(*at)->tag_next)
        if (*at == receive) {
            *at = receive->tag_next;
            if (!*at)
                tag->receives_end = at;
            break;
        }
    drop_tag(receive->peer, tag);
}

void ferry__wire_announced_drop(ferry_peer *peer, struct ferry__wire_announced *announced)
{
    ferry__wire_map_remove(&peer->announced, &announced->node);
    if (announced->receive) {
        announced->receive->announced = NULL;
        free(announced);
        return;
    }
    struct ferry__wire_tag *tag = find_tag(peer, announced->tag, false);
    for (struct ferry__wire_announced **at = &tag->announced; *at; at = &(*at)->next)
        if (*at == announced) {
            *at = announced->next;
            if (!*at)
                tag->announced_end = at;
            peer->announced_count--;
            break;
        }
    drop_tag(peer, tag);
    free(announced);
}

/* The peer is gone: nobody waits for a tag of its any more. */
void ferry__wire_match_finish(ferry_peer *peer)
{
    struct ferry__wire_node *node;
    while ((node = ferry__wire_map_take(&peer->announced))) {
        struct ferry__wire_announced *announced =
            FERRY_WIRE_OF(node, struct ferry__wire_announced, node);
        if (announced->receive)
            announced->receive->announced = NULL;
        free(announced);
    }
    while ((node = ferry__wire_map_take(&peer->tags)))
        free(FERRY_WIRE_OF(node, struct ferry__wire_tag, node));
    peer->announced_count = 0;
    ferry__wire_map_finish(&peer->announced);
    ferry__wire_map_finish(&peer->tags);
}
