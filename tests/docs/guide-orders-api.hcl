# Policy: orders-api can only read its own database credentials
policy "orders-api" {
  path "database/creds/orders-api" {
    capabilities = ["read"]
  }

  # Deny access to everything else
  path "database/creds/*" {
    capabilities = ["deny"]
  }
}
