"""The only place that imports a PKCS#11 binding."""
