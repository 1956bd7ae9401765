"""The authorization server: registered clients, what users and institutions grant them, and the tokens that say so.

Sources: SMART App Launch 2.2; RFC 6749, 6750, 7009, 7523, 7636, 7662, 8414, 9068, 9207; OpenID Connect Core 1.0.
"""
