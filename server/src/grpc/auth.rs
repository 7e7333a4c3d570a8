//! The Auth service.
//!
//! Passwords become hashes here, before anything is proposed: the log and the store never see
//! one.

use api::berthpb::IssueToken;
use api::berthpb::command::Op;
use api::etcdserverpb::auth_server::Auth as AuthService;
use api::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
    AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest,
    AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse,
    AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tonic::{Request, Response, Status};

use super::Context;
use super::errors::Error;
use super::proposal::answer;
use super::tokens::{Issue, VerifyOnly};

#[derive(Clone)]
pub(super) struct Auth {
    pub(super) context: Context,
}

/// A call that is a command as it stands.
macro_rules! propose {
    ($self:ident, $request:ident, $op:ident, $answer:ident) => {{
        let (metadata, _, request) = $request.into_parts();
        let mut answer = answer!($self.context.submit(&metadata, Op::$op(request)).await?, $answer);
        $self.context.fill(&mut answer.header);
        Ok(Response::new(answer))
    }};
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        propose!(self, request, AuthEnable, AuthEnable)
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        propose!(self, request, AuthDisable, AuthDisable)
    }

    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        self.context.authenticate(request.metadata())?;
        self.context.barrier(false).await?;
        let mut status = self.context.node().reader().auth().status();
        self.context.fill(&mut status.header);
        Ok(Response::new(status))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        self.context.barrier(false).await?;
        let AuthenticateRequest { name, password } = request.into_inner();
        let token = self.authenticated(&name, &password).await?;
        Ok(Response::new(AuthenticateResponse { header: self.context.header(), token }))
    }

    async fn user_add(
        &self,
        request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let principal = self.context.require_admin(request.metadata())?;
        let mut user = request.into_inner();
        let password = std::mem::take(&mut user.password);
        // A hash that the client made is not taken, as etcd does not take it here.
        user.hashed_password = match user.options.is_some_and(|options| options.no_password) {
            true => String::new(),
            false => self.context.passwords().hash(password).await?,
        };
        let op = Op::UserAdd(user);
        let mut added = answer!(self.context.propose(principal, op).await?, UserAdd);
        self.context.fill(&mut added.header);
        Ok(Response::new(added))
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let principal = self.context.authenticate(request.metadata())?;
        self.context.barrier(false).await?;
        let auth = self.context.node().reader().auth();
        auth.check_user_get(principal.as_ref(), &request.get_ref().name).map_err(Error::from)?;
        let mut user = auth.user_get(request.get_ref()).map_err(Error::from)?;
        self.context.fill(&mut user.header);
        Ok(Response::new(user))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        self.context.barrier(false).await?;
        let mut users = self.context.node().reader().auth().user_list();
        self.context.fill(&mut users.header);
        Ok(Response::new(users))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        propose!(self, request, UserDelete, UserDelete)
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let principal = self.context.require_admin(request.metadata())?;
        let mut change = request.into_inner();
        let password = std::mem::take(&mut change.password);
        change.hashed_password = match password.is_empty() {
            true => client_hash(&change.hashed_password)?,
            false => self.context.passwords().hash(password).await?,
        };
        let op = Op::UserChangePassword(change);
        let mut changed = answer!(self.context.propose(principal, op).await?, UserChangePassword);
        self.context.fill(&mut changed.header);
        Ok(Response::new(changed))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        propose!(self, request, UserGrantRole, UserGrantRole)
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        propose!(self, request, UserRevokeRole, UserRevokeRole)
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        propose!(self, request, RoleAdd, RoleAdd)
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let principal = self.context.authenticate(request.metadata())?;
        self.context.barrier(false).await?;
        let auth = self.context.node().reader().auth();
        auth.check_role_get(principal.as_ref(), &request.get_ref().role).map_err(Error::from)?;
        let mut role = auth.role_get(request.get_ref()).map_err(Error::from)?;
        self.context.fill(&mut role.header);
        Ok(Response::new(role))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        self.context.require_admin(request.metadata())?;
        self.context.barrier(false).await?;
        let mut roles = self.context.node().reader().auth().role_list();
        self.context.fill(&mut roles.header);
        Ok(Response::new(roles))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        propose!(self, request, RoleDelete, RoleDelete)
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        propose!(self, request, RoleGrantPermission, RoleGrantPermission)
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        propose!(self, request, RoleRevokePermission, RoleRevokePermission)
    }
}

impl Auth {
    /// Checks the password and gives a token for it. Should auth change meanwhile, all of it is
    /// done again: the password may be another one.
    async fn authenticated(&self, name: &str, password: &str) -> Result<String, Error> {
        loop {
            let checked = self.check_password(name, password).await?;
            let token = self.issue_token(name, checked).await?;
            if self.context.node().reader().auth().revision() == checked {
                return Ok(token);
            }
        }
    }

    /// The revision of auth under which the password is right.
    async fn check_password(&self, name: &str, password: &str) -> Result<u64, Error> {
        let auth = self.context.node().reader().auth();
        if !auth.enabled() {
            return Err(store::Error::AuthNotEnabled.into());
        }
        let hash = auth.password_hash(name).ok_or(store::Error::AuthFailed)?.to_owned();
        if hash.is_empty() {
            return Err(Error::NoPasswordUser);
        }
        if !self.context.passwords().matches(password.to_owned(), hash).await? {
            tracing::warn!(user_name = name, "invalid authentication was requested");
            return Err(store::Error::AuthFailed.into());
        }
        Ok(auth.revision())
    }

    async fn issue_token(&self, name: &str, auth_revision: u64) -> Result<String, Error> {
        match self.context.tokens().issue() {
            Issue::Signed(jwt) => {
                jwt.sign(name, auth_revision).map_err(|VerifyOnly| Error::VerifyOnly)
            }
            Issue::Replicated { prefix } => {
                let op = Op::IssueToken(IssueToken { user: name.to_owned(), prefix });
                Ok(answer!(self.context.propose(None, op).await?, IssueToken).token)
            }
        }
    }
}

/// A hash that the client made, in etcd's base64; empty if there is none.
fn client_hash(encoded: &str) -> Result<String, Error> {
    let decoded = STANDARD.decode(encoded).map_err(|_| Error::NoPasswordUser)?;
    String::from_utf8(decoded).map_err(|_| Error::NoPasswordUser)
}

#[cfg(test)]
mod tests;
