"""Emergency access (break-glass): how long it lasts, what is kept of it, and who looks at it afterwards."""
