//! Values of the OCI image and distribution specifications
