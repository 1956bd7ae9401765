"""Keys and what is done with them: the keyring file, sealed bodies (SM4-GCM), keyed tokens (HMAC-SM3).

Sources: GB/T 32905-2016 (SM3), GB/T 32907-2016 (SM4), RFC 8998 (SM4-GCM), RFC 2104 (HMAC), RFC 5869 (HKDF).
"""
