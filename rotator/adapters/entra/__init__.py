"""Microsoft Entra: the user-delegated sign-ins and the encrypted token cache that keeps them."""
