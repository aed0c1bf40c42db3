// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// A Redis 7 module that gives redis-server the commands Codis needs of codis-server: slots, and moving them. It keeps
// an index of keys by slot, fed by keyspace events, and moves keys with MIGRATE, in the event loop: unlike the
// original's, its "async" migration blocks the server for the length of each step.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SLOTS 1024
#define OK 0
#define FAILED 1
#define API_VERSION 1
#define REPLY_ERROR 1
#define REPLY_INTEGER 2
#define POSTPONED_LEN -1
#define ON_GENERIC (1 << 2)
#define ON_EXPIRED (1 << 8)
#define ON_EVICTED (1 << 9)
#define ON_LOADED (1 << 12)
#define ON_NEW (1 << 14)
#define EVENT_FLUSH 2
#define EVENT_SWAP 11

typedef struct Ctx Ctx;
typedef struct Str Str;
typedef struct Reply Reply;
typedef struct Dict Dict;
typedef struct Iter Iter;
typedef struct { uint64_t id, version; } Event;
typedef struct { uint64_t version; int32_t sync, db; } FlushInfo;
typedef struct { uint64_t version; int32_t first, second; } SwapInfo;
typedef int (*Command)(Ctx *, Str **, int);
typedef int (*KeyCallback)(Ctx *, int, const char *, Str *);
typedef void (*EventCallback)(Ctx *, Event, uint64_t, void *);

// The functions of the module API that are used, by their names behind "RedisModule_".
#define API(F) \
    F(void, SetModuleAttribs, (Ctx *, const char *, int, int)) \
    F(int, CreateCommand, (Ctx *, const char *, Command, const char *, int, int, int)) \
    F(int, SubscribeToKeyspaceEvents, (Ctx *, int, KeyCallback)) \
    F(int, SubscribeToServerEvent, (Ctx *, Event, EventCallback)) \
    F(void *, Realloc, (void *, size_t)) \
    F(void, Free, (void *)) \
    F(int, GetSelectedDb, (Ctx *)) \
    F(int, WrongArity, (Ctx *)) \
    F(int, ReplyWithError, (Ctx *, const char *)) \
    F(int, ReplyWithArray, (Ctx *, long)) \
    F(void, ReplySetArrayLength, (Ctx *, long)) \
    F(int, ReplyWithLongLong, (Ctx *, long long)) \
    F(int, ReplyWithSimpleString, (Ctx *, const char *)) \
    F(int, ReplyWithStringBuffer, (Ctx *, const char *, size_t)) \
    F(int, ReplyWithCallReply, (Ctx *, Reply *)) \
    F(Reply *, Call, (Ctx *, const char *, const char *, ...)) \
    F(int, CallReplyType, (Reply *)) \
    F(long long, CallReplyInteger, (Reply *)) \
    F(Reply *, CallReplyArrayElement, (Reply *, size_t)) \
    F(const char *, CallReplyStringPtr, (Reply *, size_t *)) \
    F(void, FreeCallReply, (Reply *)) \
    F(Str *, CreateString, (Ctx *, const char *, size_t)) \
    F(Str *, CreateStringFromLongLong, (Ctx *, long long)) \
    F(void, FreeString, (Ctx *, Str *)) \
    F(const char *, StringPtrLen, (const Str *, size_t *)) \
    F(int, StringToLongLong, (const Str *, long long *)) \
    F(Dict *, CreateDict, (Ctx *)) \
    F(void, FreeDict, (Ctx *, Dict *)) \
    F(uint64_t, DictSize, (Dict *)) \
    F(int, DictReplaceC, (Dict *, void *, size_t, void *)) \
    F(int, DictDelC, (Dict *, void *, size_t, void *)) \
    F(Iter *, DictIteratorStartC, (Dict *, const char *, void *, size_t)) \
    F(void *, DictNextC, (Iter *, size_t *, void **)) \
    F(void, DictIteratorStop, (Iter *))

#define DECLARE(type, name, args) static type(*name) args;
API(DECLARE)

// ---- Slots ----

// tagOf narrows a key to what is hashed: the text between the first { and the next }, an empty one included.
static void tagOf(const char **key, size_t *len) {
    const char *beg = memchr(*key, '{', *len);
    if (beg == NULL) return;
    const char *end = memchr(beg + 1, '}', *key + *len - beg - 1);
    if (end == NULL) return;
    *key = beg + 1;
    *len = end - beg - 1;
}

static uint32_t crcTable[256];

static void initCRC(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crcTable[i] = c;
    }
}

static int slotOf(const char *key, size_t len) {
    tagOf(&key, &len);
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < len; i++) c = crcTable[(c ^ (uint8_t)key[i]) & 0xff] ^ (c >> 8);
    return (c ^ 0xffffffffu) % SLOTS;
}

// ---- The index ----

// An entry is the length of the tag in four bytes, the tag, and the key, so that keys of one tag are neighbors.
typedef struct { Dict *slots[SLOTS]; } Database;

static Database *databases;
static int databaseCount;

static Database *database(int db) {
    if (db >= databaseCount) {
        databases = Realloc(databases, (db + 1) * sizeof(Database));
        memset(databases + databaseCount, 0, (db + 1 - databaseCount) * sizeof(Database));
        databaseCount = db + 1;
    }
    return databases + db;
}

typedef struct { char *data; size_t len, group; } Entry;

static Entry newEntry(const char *key, size_t len) {
    const char *tag = key;
    size_t taglen = len;
    tagOf(&tag, &taglen);
    Entry e = {Realloc(NULL, 4 + taglen + len), 4 + taglen + len, 4 + taglen};
    for (int i = 0; i < 4; i++) e.data[i] = (char)(taglen >> (8 * (3 - i)));
    memcpy(e.data + 4, tag, taglen);
    memcpy(e.data + e.group, key, len);
    return e;
}

static size_t groupLength(const char *entry) {
    size_t n = 0;
    for (int i = 0; i < 4; i++) n = n << 8 | (uint8_t)entry[i];
    return 4 + n;
}

static uint64_t slotSize(int db, int slot) {
    Dict *d = database(db)->slots[slot];
    return d == NULL ? 0 : DictSize(d);
}

static void clearSlot(Ctx *ctx, int db, int slot) {
    Dict **d = &database(db)->slots[slot];
    if (*d != NULL) FreeDict(ctx, *d);
    *d = NULL;
}

static void indexKey(Ctx *ctx, int db, Str *name, int present) {
    (void)ctx;
    size_t len;
    const char *key = StringPtrLen(name, &len);
    Dict **d = &database(db)->slots[slotOf(key, len)];
    if (*d == NULL && !present) return;
    if (*d == NULL) *d = CreateDict(NULL);
    Entry e = newEntry(key, len);
    if (present) DictReplaceC(*d, e.data, e.len, NULL);
    else DictDelC(*d, e.data, e.len, NULL);
    Free(e.data);
}

static int onKey(Ctx *ctx, int type, const char *event, Str *key) {
    int db = GetSelectedDb(ctx);
    if (type == ON_NEW || type == ON_LOADED) {
        indexKey(ctx, db, key, 1);
    } else if (type == ON_EXPIRED || type == ON_EVICTED || !strcmp(event, "del") ||
               !strcmp(event, "rename_from") || !strcmp(event, "move_from")) {
        indexKey(ctx, db, key, 0);
    }
    return OK;
}

static void onFlush(Ctx *ctx, Event event, uint64_t sub, void *data) {
    (void)event;
    FlushInfo *info = data;
    if (sub != 0) return;
    for (int db = 0; db < databaseCount; db++) {
        if (info->db != -1 && info->db != db) continue;
        for (int slot = 0; slot < SLOTS; slot++) clearSlot(ctx, db, slot);
    }
}

static void onSwap(Ctx *ctx, Event event, uint64_t sub, void *data) {
    (void)ctx, (void)event, (void)sub;
    SwapInfo *info = data;
    database(info->first > info->second ? info->first : info->second);
    Database first = databases[info->first];
    databases[info->first] = databases[info->second];
    databases[info->second] = first;
}

// ---- Commands about slots ----

static int parseSlot(Ctx *ctx, Str *arg, long long *slot) {
    if (StringToLongLong(arg, slot) == OK && *slot >= 0 && *slot < SLOTS) return 1;
    ReplyWithError(ctx, "ERR invalid slot number");
    return 0;
}

// SLOTSINFO [start [count]]
static int slotsInfo(Ctx *ctx, Str **argv, int argc) {
    long long start = 0, count = SLOTS;
    if (argc > 3) return WrongArity(ctx);
    if (argc > 1 && !parseSlot(ctx, argv[1], &start)) return OK;
    if (argc > 2 && (StringToLongLong(argv[2], &count) != OK || count < 0))
        return ReplyWithError(ctx, "ERR invalid slot count");
    int db = GetSelectedDb(ctx);
    long n = 0;
    ReplyWithArray(ctx, POSTPONED_LEN);
    for (int slot = start; slot < SLOTS && slot < start + count; slot++) {
        uint64_t size = slotSize(db, slot);
        if (size == 0) continue;
        ReplyWithArray(ctx, 2);
        ReplyWithLongLong(ctx, slot);
        ReplyWithLongLong(ctx, size);
        n++;
    }
    ReplySetArrayLength(ctx, n);
    return OK;
}

// SLOTSHASHKEY key...
static int slotsHashKey(Ctx *ctx, Str **argv, int argc) {
    if (argc < 2) return WrongArity(ctx);
    ReplyWithArray(ctx, argc - 1);
    for (int i = 1; i < argc; i++) {
        size_t len;
        const char *key = StringPtrLen(argv[i], &len);
        ReplyWithLongLong(ctx, slotOf(key, len));
    }
    return OK;
}

// A batch is a list of keys, all those of a tag or none.
typedef struct { Str **keys; size_t len, cap; } Batch;

static void addKey(Ctx *ctx, Batch *b, const char *entry, size_t len) {
    if (b->len == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 64;
        b->keys = Realloc(b->keys, b->cap * sizeof(Str *));
    }
    size_t group = groupLength(entry);
    b->keys[b->len++] = CreateString(ctx, entry + group, len - group);
}

static void freeBatch(Ctx *ctx, Batch *b) {
    for (size_t i = 0; i < b->len; i++) FreeString(ctx, b->keys[i]);
    Free(b->keys);
}

// takeSome collects at least limit keys of a slot, if it has that many, with all others of the last one's tag.
static Batch takeSome(Ctx *ctx, int db, int slot, size_t limit) {
    Batch b = {0};
    Dict *d = database(db)->slots[slot];
    if (d == NULL) return b;
    Iter *it = DictIteratorStartC(d, "^", NULL, 0);
    char *last = NULL;
    size_t group = 0, len;
    for (char *entry; (entry = DictNextC(it, &len, NULL)) != NULL;) {
        size_t g = groupLength(entry);
        if (b.len >= limit && (g != group || memcmp(entry, last, g) != 0)) break;
        addKey(ctx, &b, entry, len);
        last = Realloc(last, group = g);
        memcpy(last, entry, g);
    }
    DictIteratorStop(it);
    Free(last);
    return b;
}

// takeTag collects all keys that share the tag of a key.
static Batch takeTag(Ctx *ctx, int db, Str *name) {
    Batch b = {0};
    size_t len;
    const char *key = StringPtrLen(name, &len);
    Dict *d = database(db)->slots[slotOf(key, len)];
    if (d == NULL) return b;
    Entry e = newEntry(key, len);
    Iter *it = DictIteratorStartC(d, ">=", e.data, e.group);
    for (char *entry; (entry = DictNextC(it, &len, NULL)) != NULL;) {
        if (len < e.group || memcmp(entry, e.data, e.group) != 0) break;
        addKey(ctx, &b, entry, len);
    }
    DictIteratorStop(it);
    Free(e.data);
    return b;
}

// SLOTSSCAN slot cursor [COUNT n]: always the whole slot at once.
static int slotsScan(Ctx *ctx, Str **argv, int argc) {
    long long slot;
    if (argc != 3 && argc != 5) return WrongArity(ctx);
    if (!parseSlot(ctx, argv[1], &slot)) return OK;
    Batch b = takeSome(ctx, GetSelectedDb(ctx), slot, SIZE_MAX);
    ReplyWithArray(ctx, 2);
    ReplyWithStringBuffer(ctx, "0", 1);
    ReplyWithArray(ctx, b.len);
    for (size_t i = 0; i < b.len; i++) {
        size_t len;
        const char *key = StringPtrLen(b.keys[i], &len);
        ReplyWithStringBuffer(ctx, key, len);
    }
    freeBatch(ctx, &b);
    return OK;
}

// SLOTSDEL slot...
static int slotsDel(Ctx *ctx, Str **argv, int argc) {
    if (argc < 2) return WrongArity(ctx);
    long long slot;
    for (int i = 1; i < argc; i++)
        if (!parseSlot(ctx, argv[i], &slot)) return OK;
    int db = GetSelectedDb(ctx);
    ReplyWithArray(ctx, argc - 1);
    for (int i = 1; i < argc; i++) {
        StringToLongLong(argv[i], &slot);
        Batch b = takeSome(ctx, db, slot, SIZE_MAX);
        if (b.len != 0) {
            Reply *r = Call(ctx, "DEL", "!Ev", b.keys, b.len);
            if (r != NULL) FreeCallReply(r);
        }
        freeBatch(ctx, &b);
        ReplyWithArray(ctx, 2);
        ReplyWithLongLong(ctx, slot);
        ReplyWithLongLong(ctx, slotSize(db, slot));
    }
    return OK;
}

// ---- Migration ----

typedef struct { Str *host, *port, *timeout; } Target;

// password returns this server's requirepass: the target is taken to have the same.
static Str *password(Ctx *ctx) {
    Str *found = NULL;
    Reply *r = Call(ctx, "CONFIG", "Ecc", "GET", "requirepass");
    Reply *value = r == NULL ? NULL : CallReplyArrayElement(r, 1);
    if (value != NULL) {
        size_t len;
        const char *text = CallReplyStringPtr(value, &len);
        if (text != NULL && len != 0) found = CreateString(ctx, text, len);
    }
    if (r != NULL) FreeCallReply(r);
    return found;
}

// migrate moves a batch to the same database of the target and returns the error reply, or NULL. A key that is gone
// already is no error. Replicas and the append-only file see the deletions.
static Reply *migrate(Ctx *ctx, Target t, Batch *b) {
    if (b->len == 0) return NULL;
    enum { HEAD = 9 };
    Str **argv = Realloc(NULL, (HEAD + b->len) * sizeof(Str *));
    Str *auth = password(ctx), *owned[6];
    int n = 0, own = 0;
    argv[n++] = t.host;
    argv[n++] = t.port;
    argv[n++] = owned[own++] = CreateString(ctx, "", 0);
    argv[n++] = owned[own++] = CreateStringFromLongLong(ctx, GetSelectedDb(ctx));
    argv[n++] = t.timeout;
    argv[n++] = owned[own++] = CreateString(ctx, "REPLACE", 7);
    if (auth != NULL) {
        argv[n++] = owned[own++] = CreateString(ctx, "AUTH", 4);
        argv[n++] = owned[own++] = auth;
    }
    argv[n++] = owned[own++] = CreateString(ctx, "KEYS", 4);
    memcpy(argv + n, b->keys, b->len * sizeof(Str *));
    Reply *r = Call(ctx, "MIGRATE", "!Ev", argv, n + b->len);
    for (int i = 0; i < own; i++) FreeString(ctx, owned[i]);
    Free(argv);
    if (r != NULL && CallReplyType(r) == REPLY_ERROR) return r;
    if (r != NULL) FreeCallReply(r);
    for (size_t i = 0; i < b->len; i++) indexKey(ctx, GetSelectedDb(ctx), b->keys[i], 0);
    return NULL;
}

static int moveSome(Ctx *ctx, Target t, Str *slotArg, size_t limit) {
    long long slot;
    if (!parseSlot(ctx, slotArg, &slot)) return OK;
    int db = GetSelectedDb(ctx);
    Batch b = takeSome(ctx, db, slot, limit);
    Reply *failed = migrate(ctx, t, &b);
    if (failed != NULL) {
        ReplyWithCallReply(ctx, failed);
        FreeCallReply(failed);
    } else {
        ReplyWithArray(ctx, 2);
        ReplyWithLongLong(ctx, b.len);
        ReplyWithLongLong(ctx, slotSize(db, slot));
    }
    freeBatch(ctx, &b);
    return OK;
}

// SLOTSMGRTTAGSLOT host port timeout slot: one key of the slot, with those of its tag.
static int moveTagSlot(Ctx *ctx, Str **argv, int argc) {
    if (argc != 5) return WrongArity(ctx);
    return moveSome(ctx, (Target){argv[1], argv[2], argv[3]}, argv[4], 1);
}

// SLOTSMGRTTAGSLOT-ASYNC host port timeout maxbulks maxbytes slot numkeys
static int moveTagSlotAsync(Ctx *ctx, Str **argv, int argc) {
    long long numkeys;
    if (argc != 8) return WrongArity(ctx);
    if (StringToLongLong(argv[7], &numkeys) != OK || numkeys < 1)
        return ReplyWithError(ctx, "ERR invalid value of numkeys");
    return moveSome(ctx, (Target){argv[1], argv[2], argv[3]}, argv[6], numkeys);
}

// SLOTSMGRTTAGONE host port timeout key
static int moveTagOne(Ctx *ctx, Str **argv, int argc) {
    if (argc != 5) return WrongArity(ctx);
    Batch b = takeTag(ctx, GetSelectedDb(ctx), argv[4]);
    Reply *failed = migrate(ctx, (Target){argv[1], argv[2], argv[3]}, &b);
    if (failed != NULL) {
        ReplyWithCallReply(ctx, failed);
        FreeCallReply(failed);
    } else {
        ReplyWithLongLong(ctx, b.len);
    }
    freeBatch(ctx, &b);
    return OK;
}

// SLOTSMGRT-EXEC-WRAPPER hashkey command...: [0, why] if the key is not here, else [2, reply]. It never answers 1,
// "being moved": moving and commands take turns.
static int execWrapper(Ctx *ctx, Str **argv, int argc) {
    if (argc < 3) return WrongArity(ctx);
    Reply *r = Call(ctx, "EXISTS", "Es", argv[1]);
    int exists = r != NULL && CallReplyType(r) == REPLY_INTEGER && CallReplyInteger(r) != 0;
    if (r != NULL) FreeCallReply(r);
    ReplyWithArray(ctx, 2);
    if (!exists) {
        ReplyWithLongLong(ctx, 0);
        return ReplyWithError(ctx, "ERR the specified key doesn't exist");
    }
    ReplyWithLongLong(ctx, 2);
    r = Call(ctx, StringPtrLen(argv[2], NULL), "!Ev", argv + 3, (size_t)(argc - 3));
    if (r == NULL) return ReplyWithError(ctx, "ERR unknown command");
    ReplyWithCallReply(ctx, r);
    FreeCallReply(r);
    return OK;
}

// SLOTSRESTORE key ttl value [key ttl value ...]
static int slotsRestore(Ctx *ctx, Str **argv, int argc) {
    if (argc < 4 || (argc - 1) % 3 != 0) return WrongArity(ctx);
    for (int i = 1; i < argc; i += 3) {
        Reply *r = Call(ctx, "RESTORE", "!Esssc", argv[i], argv[i + 1], argv[i + 2], "REPLACE");
        if (r == NULL) return ReplyWithError(ctx, "ERR restore failed");
        int failed = CallReplyType(r) == REPLY_ERROR;
        if (failed) ReplyWithCallReply(ctx, r);
        FreeCallReply(r);
        if (failed) return OK;
    }
    return ReplyWithSimpleString(ctx, "OK");
}

// ---- Loading ----

// RedisModule_OnLoad is called once, before any data is loaded, so that the index sees every key.
int RedisModule_OnLoad(Ctx *ctx, Str **argv, int argc) {
    (void)argv, (void)argc;
    int (*getApi)(const char *, void *) = *(int (**)(const char *, void *))ctx;
#define LOAD(type, name, args) if (getApi("RedisModule_" #name, &name) != OK) return FAILED;
    API(LOAD)
    initCRC();
    SetModuleAttribs(ctx, "codis", 1, API_VERSION);
    static const struct { const char *name; Command command; const char *flags; } commands[] = {
        {"SLOTSINFO", slotsInfo, "readonly"},
        {"SLOTSHASHKEY", slotsHashKey, "readonly fast"},
        {"SLOTSSCAN", slotsScan, "readonly"},
        {"SLOTSDEL", slotsDel, "write"},
        {"SLOTSMGRTTAGSLOT", moveTagSlot, "write"},
        {"SLOTSMGRTTAGSLOT-ASYNC", moveTagSlotAsync, "write"},
        {"SLOTSMGRTTAGONE", moveTagOne, "write"},
        {"SLOTSMGRT-EXEC-WRAPPER", execWrapper, "write deny-oom"},
        {"SLOTSRESTORE", slotsRestore, "write deny-oom"},
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (CreateCommand(ctx, commands[i].name, commands[i].command, commands[i].flags, 0, 0, 0) != OK) return FAILED;
    if (SubscribeToKeyspaceEvents(ctx, ON_GENERIC | ON_EXPIRED | ON_EVICTED | ON_LOADED | ON_NEW, onKey) != OK ||
        SubscribeToServerEvent(ctx, (Event){EVENT_FLUSH, 1}, onFlush) != OK ||
        SubscribeToServerEvent(ctx, (Event){EVENT_SWAP, 1}, onSwap) != OK)
        return FAILED;
    return OK;
}
