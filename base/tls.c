/* base/tls.c - TLS 1.3 with an external PSK: OpenSSL between two queues.
 * OpenSSL writes into a list of chunks, never to the socket; so it never has
 * half a record to finish, and writes of one turn leave in one system call.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/tls.h"

#include "base/list.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RECORD_BYTES = 16 << 10,    /* the most that TLS allows */
    CHUNK_BYTES = 64 << 10,     /* of the queue: four records */
    CHUNKS_KEPT = 4,            /* for the next writes */
    EARLY_BYTES = 256 << 10,    /* of a large write are sent before its end */
    EARLY_BYTES_MAX = 4 << 20,  /* so much in all, until the next flush */
    CHUNKS_PER_SEND = 16,       /* of one sendmsg(): 1 MiB */
    READ_AHEAD_BYTES = 64 << 10 /* read(2) takes up to four records */
};

/* RFC 8446 section 5.5: AES-GCM stays safe for 2^24.5 full records under one
 * key.  A quarter of that, about 128 GB, costs nothing to keep. */
static const uint64_t records_per_key = 1 << 23;

/* The name under which the key is offered; there is one. */
static const unsigned char identity[] = "lunar";
enum { IDENTITY_BYTES = sizeof identity - 1 };

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *method;
    SSL_SESSION *psk;
};

struct chunk {
    struct list link;
    size_t from, end; /* what is not sent yet */
    uint8_t bytes[CHUNK_BYTES];
};

struct tls {
    SSL *ssl;
    int fd;
    bool broken;       /* nothing more can be written */
    struct list out;   /* chunks to send */
    struct list spare; /* chunks for more */
    unsigned spare_count;
    size_t unsent;     /* bytes in `out` */
    size_t early_left; /* of EARLY_BYTES_MAX */
    uint64_t records;  /* written under the present key */
    uint64_t rekey_after;
    size_t staged;
    uint8_t stage[RECORD_BYTES]; /* the beginning of the next record */
};

/* -- the queue, which OpenSSL sees as a BIO -------------------------------- */

static struct chunk *chunk_new(void)
{
    struct chunk *c = malloc(sizeof *c);

    if (c)
        c->link = (struct list){NULL, NULL};
    return c;
}

static void chunks_free(struct list *chunks)
{
    struct list *first;

    while ((first = list_pop_front(chunks)))
        free(container_of(first, struct chunk, link));
}

/* A chunk with room at the end of the queue; NULL: no memory. */
static struct chunk *chunk_to_fill(struct tls *tls)
{
    struct chunk *c = container_of(tls->out.prev, struct chunk, link);
    struct list *first;

    if (!list_empty(&tls->out) && c->end < CHUNK_BYTES)
        return c;
    first = list_pop_front(&tls->spare);
    if (first) {
        c = container_of(first, struct chunk, link);
        tls->spare_count--;
    } else {
        c = chunk_new();
    }
    if (!c)
        return NULL;
    c->from = c->end = 0;
    list_push_back(&tls->out, &c->link);
    return c;
}

static void chunk_done(struct tls *tls, struct chunk *c)
{
    list_remove(&c->link);
    if (tls->spare_count == CHUNKS_KEPT) {
        free(c);
        return;
    }
    list_push_front(&tls->spare, &c->link); /* while it is in the caches */
    tls->spare_count++;
}

static int bio_write(BIO *bio, const char *bytes, int count)
{
    struct tls *tls = BIO_get_data(bio);

    for (int done = 0; done < count;) {
        struct chunk *c = chunk_to_fill(tls);
        size_t part;

        if (!c) {
            tls->broken = true;
            return -1;
        }
        part = min_u64(CHUNK_BYTES - c->end, (uint64_t)(count - done));
        memcpy(c->bytes + c->end, bytes + done, part);
        c->end += part;
        tls->unsent += part;
        done += (int)part;
    }
    return count;
}

static int bio_read(BIO *bio, char *at, int room)
{
    const struct tls *tls = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    do
        n = recv(tls->fd, at, (size_t)room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* whoever flushes, tls_flush() sends */
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method_new(void)
{
    BIO_METHOD *m =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lunar");

    if (m && BIO_meth_set_write(m, bio_write) &&
        BIO_meth_set_read(m, bio_read) && BIO_meth_set_ctrl(m, bio_ctrl) &&
        BIO_meth_set_create(m, bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* -- the key --------------------------------------------------------------- */

/* Offer the key, as if it were a session to resume. */
static int psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id,
                   size_t *ret_id_bytes, SSL_SESSION **ret_session)
{
    struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    (void)md; /* one suite, one hash */
    *ret_id = identity;
    *ret_id_bytes = IDENTITY_BYTES;
    *ret_session = SSL_SESSION_dup(context->psk); /* it will be written to */
    return *ret_session != NULL;
}

static int psk_find(SSL *ssl, const unsigned char *id, size_t id_bytes,
                    SSL_SESSION **ret_session)
{
    struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    *ret_session = NULL; /* not ours: go on without, and fail */
    if (id_bytes == IDENTITY_BYTES && !memcmp(id, identity, id_bytes))
        *ret_session = SSL_SESSION_dup(context->psk);
    return 1;
}

static bool psk_make(struct tls_context *context, const struct cluster_key *key)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    SSL *ssl = SSL_new(context->ssl); /* suites are found by a session only */
    const SSL_CIPHER *suite =
        ssl ? SSL_CIPHER_find(ssl, aes_128_gcm_sha256) : NULL;
    bool done;

    context->psk = SSL_SESSION_new();
    done = context->psk && suite &&
           SSL_SESSION_set1_master_key(context->psk, key->bytes,
                                       sizeof key->bytes) &&
           SSL_SESSION_set_cipher(context->psk, suite) &&
           SSL_SESSION_set_protocol_version(context->psk, TLS1_3_VERSION) &&
           /* OpenSSL forgets sessions after 5 minutes, and this is one */
           SSL_SESSION_set_timeout(context->psk, INT32_MAX);
    SSL_free(ssl);
    return done;
}

static bool context_setup(SSL_CTX *ssl)
{
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_clear_options(ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_psk_use_session_callback(ssl, psk_use);
    SSL_CTX_set_psk_find_session_callback(ssl, psk_find);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, READ_AHEAD_BYTES);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) &&
           SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256") &&
           SSL_CTX_set_num_tickets(ssl, 0);
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_SESSION_free(context->psk);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->method);
    free(context);
}

static void context_freep(struct tls_context **context)
{
    tls_context_free(*context);
}

enum err tls_context_new(const struct cluster_key *key, struct diag *why,
                         struct tls_context **ret_context)
{
    AUTO(context_freep) struct tls_context *c = calloc(1, sizeof *c);

    if (!c)
        return E_NOMEM;
    c->method = bio_method_new();
    c->ssl = SSL_CTX_new(TLS_method());
    if (!c->method || !c->ssl)
        return E_NOMEM;
    SSL_CTX_set_app_data(c->ssl, c);
    if (!context_setup(c->ssl) || !psk_make(c, key))
        return diag_fail(why, E_UNSUPPORTED,
                         "OpenSSL does not allow TLS_AES_128_GCM_SHA256 with "
                         "a shared key: %s; see openssl.cnf",
                         ERR_reason_error_string(ERR_peek_last_error()));
    *ret_context = TAKE(c);
    return E_OK;
}

/* -- sessions -------------------------------------------------------------- */

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    chunks_free(&tls->out);
    chunks_free(&tls->spare);
    explicit_bzero(tls->stage, sizeof tls->stage);
    free(tls);
}

enum err tls_new(struct tls_context *context, int fd, enum tls_role role,
                 struct tls **ret_tls)
{
    struct tls *tls = calloc(1, sizeof *tls);
    BIO *bio = BIO_new(context->method);

    if (tls) {
        list_init(&tls->out);
        list_init(&tls->spare);
        tls->ssl = SSL_new(context->ssl);
    }
    if (!tls || !bio || !tls->ssl) {
        BIO_free(bio);
        tls_free(tls);
        return E_NOMEM;
    }
    tls->fd = fd;
    tls->rekey_after = records_per_key;
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio);
    if (role == TLS_DIALS) {
        /* An end without the key could offer a certificate; without a trust
         * anchor any is refused.  We have none to offer. */
        SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
        SSL_set_connect_state(tls->ssl);
    } else {
        SSL_set_accept_state(tls->ssl);
    }
    *ret_tls = tls;
    return E_OK;
}

void tls_rekey_after(struct tls *tls, uint64_t records)
{
    tls->rekey_after = records ? records : records_per_key;
}

/* What OpenSSL's refusal means.  In its own list of reasons an alert of the
 * peer is its number and 1000. */
static enum err handshake_error(struct diag *why)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);

    switch (ERR_GET_REASON(error)) {
    case SSL_R_BINDER_DOES_NOT_VERIFY:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
        return diag_fail(why, E_ACCESS, "%s", reason);
    default:
        return diag_fail(why, E_PROTOCOL, "%s", reason ? reason : "garbage");
    }
}

/* Why an operation of OpenSSL did not do all it could. */
static enum err ssl_error(struct tls *tls, int rc, struct diag *why)
{
    int saved = errno;

    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return E_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return diag_fail(why, E_CLOSED, "it closed the connection");
    case SSL_ERROR_SYSCALL:
        return diag_fail(why, E_CLOSED, "%s",
                         saved ? strerror(saved) : "it closed the connection");
    default: tls->broken = true; return handshake_error(why);
    }
}

enum err tls_handshake(struct tls *tls, struct diag *why)
{
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_do_handshake(tls->ssl);
    if (rc != 1)
        return ssl_error(tls, rc, why);
    if (!SSL_session_reused(tls->ssl)) /* not by the key */
        return diag_fail(why, E_ACCESS, "no key was used");
    return E_OK;
}

/* -- sending --------------------------------------------------------------- */

/* One sendmsg().  Returns what it returned. */
static ssize_t send_chunks(struct tls *tls)
{
    struct iovec iov[CHUNKS_PER_SEND];
    struct msghdr m = {.msg_iov = iov};
    ssize_t n;

    list_for_each (at, &tls->out) {
        struct chunk *c = container_of(at, struct chunk, link);

        if (m.msg_iovlen == CHUNKS_PER_SEND)
            break;
        iov[m.msg_iovlen++] =
            (struct iovec){c->bytes + c->from, c->end - c->from};
    }
    do
        n = sendmsg(tls->fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

static void sent(struct tls *tls, size_t count)
{
    tls->unsent -= count;
    while (count) {
        struct chunk *c = container_of(tls->out.next, struct chunk, link);
        size_t part = min_u64(count, c->end - c->from);

        c->from += part;
        count -= part;
        if (c->from == c->end)
            chunk_done(tls, c);
    }
}

/* Errors: E_AGAIN - there is more; E_CLOSED. */
static enum err send_some(struct tls *tls, size_t limit_bytes)
{
    for (size_t done = 0; tls->unsent && done < limit_bytes;) {
        ssize_t n = send_chunks(tls);

        if (n < 0)
            return errno == EAGAIN ? E_AGAIN : E_CLOSED;
        sent(tls, (size_t)n);
        done += (size_t)n;
    }
    return tls->unsent ? E_AGAIN : E_OK;
}

/* -- writing --------------------------------------------------------------- */

/* Encrypt into the queue. */
static enum err seal(struct tls *tls, const uint8_t *bytes, size_t count)
{
    int rc;

    if (tls->records > tls->rekey_after &&
        SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
        tls->records = 0;
    tls->records += div_round_up(count, RECORD_BYTES);
    ERR_clear_error();
    rc = SSL_write(tls->ssl, bytes, (int)count);
    if (rc == (int)count)
        return E_OK;
    tls->broken = true;
    return E_CLOSED;
}

static enum err seal_stage(struct tls *tls)
{
    size_t count = tls->staged;

    tls->staged = 0;
    return count ? seal(tls, tls->stage, count) : E_OK;
}

/* Between two flushes only so much: whoever writes until the queue is full must
 * find it full one day, however fast the peer reads. */
static void send_early(struct tls *tls)
{
    size_t before = tls->unsent;

    if (before < EARLY_BYTES || !tls->early_left)
        return;
    (void)send_some(tls, EARLY_BYTES); /* what fails is told by the flush */
    tls->early_left -= min_u64(tls->early_left, before - tls->unsent);
}

/* Whole records go straight from the caller's memory; the beginning of a large
 * piece is on its way while the rest is encrypted. */
static enum err write_piece(struct tls *tls, const uint8_t *bytes, size_t count)
{
    enum err e = E_OK;

    while (count && !e) {
        size_t part = RECORD_BYTES - tls->staged;

        if (!tls->staged && count >= RECORD_BYTES) {
            part = align_down(min_u64(count, EARLY_BYTES), RECORD_BYTES);
            e = seal(tls, bytes, part);
        } else {
            part = min_u64(part, count);
            memcpy(tls->stage + tls->staged, bytes, part);
            tls->staged += part;
            if (tls->staged == RECORD_BYTES)
                e = seal_stage(tls);
        }
        send_early(tls);
        bytes += part;
        count -= part;
    }
    return e;
}

enum err tls_write(struct tls *tls, const struct iovec *iov, int iov_count)
{
    enum err e = tls->broken ? E_CLOSED : E_OK;

    for (int i = 0; i < iov_count && !e; i++)
        e = write_piece(tls, iov[i].iov_base, iov[i].iov_len);
    return e;
}

enum err tls_flush(struct tls *tls, size_t limit_bytes)
{
    enum err e;

    tls->early_left = EARLY_BYTES_MAX;
    if (!tls->broken)
        (void)seal_stage(tls);       /* what it breaks is told below */
    e = send_some(tls, limit_bytes); /* an alert, if it is broken */
    return tls->broken ? E_CLOSED : e;
}

size_t tls_unsent(const struct tls *tls)
{
    return tls->unsent + tls->staged;
}

/* -- reading --------------------------------------------------------------- */

enum err tls_read(struct tls *tls, void *at, size_t room, size_t *ret_count,
                  struct diag *why)
{
    int rc;

    ERR_clear_error();
    errno = 0;
    rc = SSL_read(tls->ssl, at, (int)min_u64(room, INT_MAX));
    if (rc <= 0)
        return ssl_error(tls, rc, why);
    *ret_count = (size_t)rc;
    return E_OK;
}

bool tls_has_read_ahead(const struct tls *tls)
{
    return SSL_has_pending(tls->ssl);
}
