/*
 * A transfer over the wire, as docs/wire.md draws it, for Spin: a sender, a receiver, a control
 * connection that keeps its order, a data connection that is apart from it, and everything that may
 * happen meanwhile: either side cancels, a piece comes in wrong, a side dies, and the other notices by
 * missed heartbeats. NODES 3: the middle one receives from the first and sends to the third at once.
 *
 *   spin -DNODES=2 -a wire.pml && cc -O2 -o pan pan.c && ./pan
 *
 * With PLANTED 1 to 5 it has a mistake, which has to be found.
 *
 * What is checked: no state is a dead end but those where all have ended; at most CREDITS chunks are
 * lent at once; a piece only comes for a credit, in order, and each byte once; both sides end with the
 * same result where neither died; nobody counts a transfer as good of which bytes are missing; all
 * staging is given back.
 */
#ifndef NODES
#define NODES 2
#endif
#define LINKS (NODES - 1)
#ifndef CHUNKS
#define CHUNKS 3 /* of a transfer */
#endif
#ifndef CREDITS
#define CREDITS 2 /* lent at once */
#endif
#ifndef PLANTED
#define PLANTED 0 /* a mistake for the model to find */
#endif
#define TRIES 2   /* of a piece */

mtype = { ANNOUNCE, READY, MATCH, CREDIT, ACK, AGAIN, END_GOOD, END_BAD };
mtype = { RUNNING, GOOD, BAD, DEAD };

/* By link: the sender is node l, the receiver node l + 1. */
chan to_receiver[LINKS] = [6] of { mtype, byte };
chan to_sender[LINKS] = [8] of { mtype, byte };
chan data[LINKS] = [CREDITS] of { byte, bool }; /* number of the piece, right checksum */

mtype sent[LINKS] = RUNNING;     /* the sender's result */
mtype received[LINKS] = RUNNING; /* the receiver's */
byte lent[LINKS];                /* chunks of the receiver that are not given back */
byte holds[LINKS];               /* chunks of the sender that are not given back */
byte whole[LINKS];               /* pieces that came in, in their order */
bool spoilt[LINKS];              /* one of them was wrong */
bool dead[NODES];
bool cancelled[LINKS];
bool may_cancel; /* where nobody may, nobody can hang unseen */

proctype Sender(byte l)
{
    byte credits = 0, next = 0, acked = 0, n, tries = 0;
    bool matched = false;
    to_receiver[l] ! ANNOUNCE, 0;
    to_receiver[l] ! READY, 0;
    do
    :: dead[l] -> sent[l] = DEAD; break
    :: sent[l] != RUNNING -> break
    :: !dead[l] && sent[l] == RUNNING && dead[l + 1] && PLANTED != 1 -> sent[l] = BAD; break /* heartbeats */
    :: !dead[l] && sent[l] == RUNNING && nempty(to_sender[l]) ->
        atomic {
            if
            :: to_sender[l] ? MATCH, n -> matched = true
            :: to_sender[l] ? CREDIT, n ->
                assert(matched && n == credits && n < CHUNKS);
                credits++
            :: to_sender[l] ? ACK, n ->
                assert(n == acked && n < next);
                acked++;
                tries = 0;
                if
                :: acked < CHUNKS -> holds[l]--
                :: else -> skip /* the last is held until the receiver has all */
                fi
            :: to_sender[l] ? AGAIN, n ->
                assert(n < next);
                tries++;
                if
                :: tries == TRIES -> sent[l] = BAD; to_receiver[l] ! END_BAD, 0
                :: PLANTED == 2 -> skip
                :: tries != TRIES && PLANTED != 2 ->
                    if
                    :: data[l] ! n, true
                    :: tries + 1 < TRIES -> data[l] ! n, false
                    fi
                fi
            :: to_sender[l] ? END_GOOD, n ->
                assert(acked == CHUNKS);
                sent[l] = GOOD
            :: to_sender[l] ? END_BAD, n -> sent[l] = BAD
            fi
        }
    :: !dead[l] && sent[l] == RUNNING && next < credits && nfull(data[l]) ->
        atomic {
            holds[l]++;
            assert(holds[l] <= CREDITS + 1);
            if
            :: data[l] ! next, true
            :: tries == 0 -> data[l] ! next, false
            fi;
            next++
        }
    :: !dead[l] && sent[l] == RUNNING && may_cancel && !cancelled[l] && acked < CHUNKS ->
        atomic { cancelled[l] = true; sent[l] = BAD; to_receiver[l] ! END_BAD, 0 }
    od;
    holds[l] = 0
}

proctype Receiver(byte l)
{
    byte asked = 0, n, again = 0;
    bool announced = false, ready = false, right;
    do
    :: dead[l + 1] -> received[l] = DEAD; break
    :: received[l] != RUNNING -> break
    :: !dead[l + 1] && received[l] == RUNNING && dead[l] -> received[l] = BAD; break
    :: !dead[l + 1] && received[l] == RUNNING && nempty(to_receiver[l]) ->
        atomic {
            if
            :: to_receiver[l] ? ANNOUNCE, n -> announced = true; to_sender[l] ! MATCH, 0
            :: to_receiver[l] ? READY, n -> ready = true
            :: to_receiver[l] ? END_BAD, n -> received[l] = BAD
            fi
        }
    :: !dead[l + 1] && received[l] == RUNNING && announced && ready && asked < CHUNKS &&
       lent[l] < CREDITS + (PLANTED == 3) ->
        atomic {
            lent[l]++;
            assert(lent[l] <= CREDITS);
            to_sender[l] ! CREDIT, asked;
            asked++
        }
    :: !dead[l + 1] && received[l] == RUNNING && nempty(data[l]) ->
        atomic {
            data[l] ? n, right;
            assert(n < asked && n >= whole[l]); /* for a credit, and not twice */
            if
            :: (right || PLANTED == 4) && n == whole[l] ->
                spoilt[l] = spoilt[l] || !right;
                whole[l]++;
                lent[l]--;
                to_sender[l] ! ACK, n;
                if
                :: whole[l] == CHUNKS - (PLANTED == 5) -> received[l] = GOOD; to_sender[l] ! END_GOOD, 0
                :: else -> skip
                fi
            :: right && n != whole[l] -> data[l] ! n, right /* the one before is sent again */
            :: !right && !(PLANTED == 4 && n == whole[l]) -> to_sender[l] ! AGAIN, n
            fi
        }
    :: !dead[l + 1] && received[l] == RUNNING && may_cancel && !cancelled[l] ->
        atomic { cancelled[l] = true; received[l] = BAD; to_sender[l] ! END_BAD, 0 }
    od;
    lent[l] = 0
}

/* At most one node dies, at any time. */
proctype Fate()
{
    byte n;
    if
    :: skip
    :: select(n : 0 .. NODES - 1); dead[n] = true
    fi
}

init {
    byte l;
    if
    :: may_cancel = true
    :: may_cancel = false
    fi;
    atomic {
        for (l : 0 .. LINKS - 1) {
            run Sender(l);
            run Receiver(l);
        }
        run Fate()
    }
    (_nr_pr == 1); /* all others have ended */
    for (l : 0 .. LINKS - 1) {
        assert(lent[l] == 0 && holds[l] == 0);
        assert(sent[l] != RUNNING && received[l] != RUNNING);
        assert(received[l] != GOOD || (whole[l] == CHUNKS && !spoilt[l]));
        assert(sent[l] != GOOD || received[l] == GOOD || received[l] == DEAD);
        assert(dead[l] || dead[l + 1] || received[l] == GOOD || sent[l] == BAD)
    }
}
