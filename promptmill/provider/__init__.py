"""Requests → answers over HTTP: attempts, retries, and what each answer means.

Other rooms get from here: `Client.send`, which tries one request until it has an answer or gives up and settles money and
capacity whatever happens; `read_payload` and `Billing` for the answers of batches; `Credentials` and the SDK made of them.

Promised: reading an answer raises nothing but `Unreadable`, whatever JSON the provider sends. What comes out fits the
columns of the answer files. No secret is in any text that leaves this room.

Watch out: text from a provider or an exception goes through `redact` where it enters, and before it is shortened. Raise
`from None` where the cause would quote the provider. Call `limiter.penalise` before `limiter.observe`.
"""
