"""Microsoft Entra: the user-delegated sign-ins and the encrypted file that keeps them."""
